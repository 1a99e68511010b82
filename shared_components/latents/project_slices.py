"""A client's slices in the factory's latent space: with which latents it draws them, and how well."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.losses import SSIMLoss
from monai.metrics import MAEMetric, PSNRMetric, SSIMMetric
from torch import Tensor

from shared_components.audit.client_slices import ClientSlices, client_slices
from shared_components.data import datalist
from shared_components.data.client_root import data_roots
from shared_components.data.dataset_json import DATASET_FILE, splits_of
from shared_components.errors import InputError
from shared_components.files import save_tensors, write_text
from shared_components.handlers.pictures import labelled_grid, save_picture
from shared_components.inferers.cases import find_cases
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import mean_at, means_by_position, typical_distance
from shared_components.records import table_text
from shared_components.steps import steps

TABLE = "projection.csv"
LATENTS = "projection.pt"
BRIGHTER = 3  # times a difference is shown
ERRORS = ("mae", "ssim", "psnr")
COLUMNS = ("case", "domain", "slice", "height", *ERRORS)


def image_items(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike], split: str, image_domain: str | None = None
) -> list[dict[str, str]]:
    """``{"image", "subject", "domain"}`` of each volume.

    Args:
        dataset_dir: client data roots; with ``image_domain`` whatever inference takes: files, folders, patterns.
        split: of a data root.
        image_domain: name of the images' domain; None: as their data root says.
    Raises:
        InputError: no images, or some whose domain nobody names.
    """
    if image_domain is not None:
        cases = find_cases(dataset_dir, split)
        return [{"image": c["image"], "subject": c["case"], "domain": image_domain} for c in cases]
    roots = data_roots(dataset_dir)
    for root in roots:
        if not (Path(root) / DATASET_FILE).is_file():
            raise InputError(
                f"{root}: expected a client data root ({DATASET_FILE}), which names its domain, found none; "
                "name the images' domain with --image_domain"
            )
    items = [item for name in splits_of(split) for item in datalist(roots, name)]
    if not items:
        raise InputError(
            f"{dataset_dir}: expected images in its '{split}' list, found none; try another --split"
        )
    return [{name: item[name] for name in ("image", "subject", "domain")} for item in items]


def _refuse_alike(items: Sequence[Mapping[str, str]]) -> None:
    """Refuse volumes of one name, whose results would have one name as well."""
    seen: dict[str, str] = {}
    for item in items:
        other = seen.setdefault(item["subject"], item["image"])
        if other != item["image"]:
            raise InputError(
                f"{item['image']}: {other} has the same name, which their results would share; project them one "
                "after the other, each into a folder of its own"
            )


class SliceProjector:
    """Projects slices into W+ and writes what came of it, of each volume ``<case>_projection.png`` among it.

    Its rows are the real slices, those drawn, their difference, and if wanted the slices as in another domain. It shows
    real images.

    Args:
        generator: the factory's, frozen.
        description: of the factory file.
        output_dir: folder.
        to_domain: name of a domain in which the slices are drawn as well, by the difference of the domains' means of W+
            at their heights; None: none.
        slice_batch: slices that are optimised at a time.
        reading: ``percentiles``, ``slices_per_volume`` and ``min_foreground``, as in the factory's training.
        settings: arguments of :func:`~shared_components.latents.project_slices.project`.
    Raises:
        InputError: ``to_domain`` is none of the factory's.
    """

    def __init__(
        self,
        generator: Generator,
        description: Mapping[str, Any],
        output_dir: str | os.PathLike,
        to_domain: str | None = None,
        slice_batch: int = 16,
        reading: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.generator, self.description = generator, description
        self.output_dir, self.slice_batch = Path(output_dir), slice_batch
        self.reading, self.settings = dict(reading or {}), dict(settings or {})
        self.to_domain = to_domain
        self._target = None if to_domain is None else self._index(to_domain, "to_domain")
        self._means = means_by_position(generator).to(generator.constant)

    def run(self, items: Sequence[Mapping[str, str]]) -> dict[str, float]:
        """Project all volumes of :func:`image_items`.

        Writes ``projection.csv``, the errors of each slice, of intensities from 0 to 1, and ``projection.pt`` with
        ``w_plus`` (slices, rows, w_dim), the ``slices``' numbers and the ``domain`` of each case.

        Returns:
            Mean of each error.
        Raises:
            InputError: a domain that the factory does not know; when all others are written, volumes that cannot be
                read.
        """
        rows, latents, faults = [], {}, []
        for item in items:
            self._index(item["domain"], "image_domain")  # all before the first is worked on
        _refuse_alike(items)
        for item in items:
            try:
                slices = client_slices([item], self.description, self.reading)
            except InputError as error:
                faults.append(str(error))
                continue
            w_plus, drawn = self._projected(item, slices)
            about = {"case": item["subject"], "domain": item["domain"]}
            rows += [about | row for row in slice_errors(slices, drawn)]
            latents[item["subject"]] = {
                "w_plus": w_plus.cpu(), "slices": slices.numbers, "domain": item["domain"]
            }  # fmt: skip
        if not rows:
            raise InputError("\n".join(faults))
        write_text(self.output_dir / TABLE, table_text(COLUMNS, rows))
        save_tensors(self.output_dir / LATENTS, latents)
        mean = {error: sum(row[error] for row in rows) / len(rows) for error in ERRORS}
        told = f"MAE {mean['mae']:.3f}, SSIM {mean['ssim']:.3f}, PSNR {mean['psnr']:.1f} dB"
        print(f"projected {len(rows)} slices: {told}; {self.output_dir / TABLE}", file=sys.stderr)
        if faults:
            raise InputError(
                "\n".join([f"{len(faults)} of {len(items)} volumes were not projected:", *faults])
            )
        return mean

    def _projected(self, item: Mapping[str, str], slices: ClientSlices) -> tuple[Tensor, Tensor]:
        """W+ of a volume's slices and what it draws, on the CPU; the picture is written."""
        start = self._means_at(item["domain"], slices.heights)
        pairs = zip(slices.images.split(self.slice_batch), start.split(self.slice_batch), strict=True)
        told = f"projecting {item['subject']}"
        parts = [project(self.generator, x.to(w), w, told=told, **self.settings) for x, w in pairs]
        w_plus = torch.cat(parts)
        drawn = self._drawn(w_plus)
        difference = (drawn - slices.images).abs()
        shown = {
            "real": slices.images,
            "drawn": drawn,
            f"difference ({BRIGHTER}x)": BRIGHTER * difference - 1,
        }
        if self._target is not None:
            moved = self._means_at(self.to_domain, slices.heights) - start
            shown[f"as {self.to_domain}"] = self._drawn(w_plus + moved)
        columns = [f"slice {number}" for number in slices.numbers.tolist()]
        sheet = labelled_grid(torch.cat(list(shown.values())), list(shown), columns)
        save_picture(self.output_dir / f"{item['subject']}_projection.png", sheet, zoom=1)
        return w_plus, drawn

    def _means_at(self, domain: str, heights: Tensor) -> Tensor:
        number = torch.full((len(heights),), self._index(domain, "domain"), device=self._means.device)
        return mean_at(self._means, number, heights.to(self._means))

    @torch.no_grad()
    def _drawn(self, w_plus: Tensor) -> Tensor:
        parts = [self.generator.synthesis(part, "none").image for part in w_plus.split(self.slice_batch)]
        return torch.cat(parts).clamp(-1, 1).cpu()

    def _index(self, domain: str, option: str) -> int:
        known = list(self.description["domains"])
        if domain not in known:
            raise InputError(
                f"{option}: expected one of the factory's domains {known}, found {domain!r}; name one"
            )
        return known.index(domain)


def slice_errors(slices: ClientSlices, drawn: Tensor) -> list[dict[str, float]]:
    """Number, height and errors of each slice: MAE and SSIM of intensities from 0 to 1, PSNR in dB."""
    pair = unit_range(drawn), unit_range(slices.images)
    window = ssim_window(drawn.shape[-1])
    metrics = (
        MAEMetric(),
        SSIMMetric(spatial_dims=2, data_range=1.0, win_size=window),
        PSNRMetric(max_val=1.0),
    )
    values = torch.cat([metric(*pair).view(-1, 1) for metric in metrics], dim=1).tolist()
    places = zip(slices.numbers.tolist(), slices.heights.tolist(), strict=True)
    return [
        {"slice": number, "height": round(height, 4)} | dict(zip(ERRORS, row, strict=True))
        for (number, height), row in zip(places, values, strict=True)
    ]


def project(
    generator: Generator,
    images: Tensor,
    start: Tensor,
    updates: int = 300,
    rate: float = 0.05,
    ssim_weight: float = 1.0,
    prior_weight: float = 0.05,
    one_latent: bool = False,
    told: str | None = None,
) -> Tensor:
    r"""Optimise W+ by Adam until the generator draws ``images``, without noise; slices do not influence each other.

    The loss of a slice is :math:`\overline{(x-\hat x)^2}` + ``ssim_weight`` :math:`(1 - SSIM)` + ``prior_weight`` times
    the mean square of W+ off its start, in units of how w varies; the rate falls to 0 along half a cosine.

    Args:
        generator: the factory's, frozen.
        images: slices (N, 1, S, S) in [-1, 1], on the generator's device.
        start: W+ (N, rows, w_dim) to start from, such as the domain's mean at each slice's height.
        updates: of Adam.
        rate: its learning rate at the start.
        ssim_weight: 0 for the squared error alone.
        prior_weight: 0 for none; with much of it, W+ stays among what the generator draws by itself.
        one_latent: all rows move alike (the space W): less exact, but another domain's look suits it better.
        told: what is done, for the progress bar; None for none.
    Returns:
        W+ (N, rows, w_dim).
    Source: Karras et al. 2020, Sec. 5 (projection); Abdal et al. 2019 (W+).
    Deviation: squared error and SSIM in the place of a perceptual distance, whose network would have to be downloaded.
    """
    apart = 1 if one_latent else generator.rows
    moved = torch.zeros_like(start[:, :apart]).requires_grad_()
    variance = typical_distance(generator) ** 2 / generator.w_dim
    optimizer = torch.optim.Adam([moved], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    similarity = dissimilarity(images.shape[-1])
    for _ in steps(range(updates), told or "", "update", told is not None):
        drawn = generator.synthesis(start + moved, "none").image
        loss = (drawn - images).square().mean() + ssim_weight * similarity(
            unit_range(drawn), unit_range(images)
        )
        loss = loss + prior_weight * moved.square().mean() / variance
        optimizer.zero_grad(set_to_none=True)
        (len(images) * loss).backward()  # means over slices would make a step depend on their number
        optimizer.step()
        schedule.step()
    return start + moved.detach()


def unit_range(images: Tensor) -> Tensor:
    """Images in [-1, 1] as numbers from 0 to 1, as SSIM wants them."""
    return (images.clamp(-1, 1) + 1) / 2


def ssim_window(size: int) -> int:
    """Pixels of SSIM's window, odd, for slices of ``size`` pixels."""
    return min(11, size - 1 + size % 2)


def dissimilarity(size: int) -> Callable[[Tensor, Tensor], Tensor]:
    """1 - SSIM of images (N, 1, S, S) from 0 to 1."""
    return SSIMLoss(spatial_dims=2, data_range=1.0, win_size=ssim_window(size))
