"""Synthetic volumes, drawn with an evaluator: latents in, NIfTI files out.

The labelled ones of every domain are labelled by a source model or by the factory itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Transform
from torch import Tensor, nn
from torch.utils.data import Dataset

from shared_components.data.dataset_json import dataset_head, write_dataset
from shared_components.data.nifti import write_nifti
from shared_components.data.transforms import keep_largest
from shared_components.data.volumes import in_plane_spacing
from shared_components.errors import InputError, shown
from shared_components.files import inside
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents
from shared_components.steps import steps


@torch.no_grad()
def label_volume(model: nn.Module, volume: Tensor, largest_component: bool = False) -> Tensor:
    """Labels (S, S, D) uint8 that a slice model gives to a volume (1, S, S, D) in [-1, 1].

    Raises:
        InputError: a score is NaN.
    """
    slices = volume.movedim(-1, 0)  # (D, 1, S, S)
    best = [model(part).max(dim=1) for part in slices.split(16)]
    if any(bool(torch.isnan(part.values).any()) for part in best):
        raise InputError(
            "source_model_path: its scores on synthetic slices are NaN, which would count as background; "
            "look at the slices, and use the settings of the model's training"
        )
    label = torch.cat([part.indices for part in best]).movedim(0, -1)
    return _tidied(label, largest_component)


def _tidied(label: Tensor, largest_component: bool) -> Tensor:
    """A label map as uint8, of each class the largest component alone if wanted."""
    if largest_component:
        label = torch.from_numpy(keep_largest(label.numpy(), range(1, int(label.max()) + 1)))
    return label.to(torch.uint8)


def synthesize(
    generator: Generator,
    model: nn.Module | None,
    domains: Sequence[str],
    labels: Mapping[int, str],
    source_domain: str,
    output_dir: str | os.PathLike,
    twin_domains: Sequence[str] | None = None,
    *,
    volumes: int,
    slices: int,
    thickness: float,
    validation: int = 0,
    seed: int = 0,
    spacing: float | Sequence[float] | None = None,
    orientation: str | None = "RAS",
    largest_component: bool = False,
    progress: bool = True,
    factory_labels: Mapping[int, str] | None = None,
) -> dict[str, Path]:
    """Draw subjects in the source's look, label them with the source's model, and draw their twins.

    Each subject is one latent. Its volume in the source domain is labelled by the source model; the same latent
    under another domain's condition shows the same anatomy, so the labels hold for it as well. One client data
    root is written per domain, ``output_dir/<domain>``, with the same subjects and labels. Without a model the
    factory's own label maps of the source domain are taken. If one of the domains knows no heights (single-slice
    images), every slice of every domain has a latent of its own.

    Args:
        generator: the factory.
        model: the labelled client's segmentation model, (B, 1, S, S) to class scores; None: the factory labels.
        domains: the factory's domain names, in order.
        labels: the label set.
        source_domain: whose model labels.
        output_dir: folder of the client data roots.
        twin_domains: domains to draw beside the source; None: all others.
        volumes: number of subjects for training.
        validation: number of further subjects, in the roots' validation split.
        slices: slices per volume.
        seed: of the latents.
        spacing: in-plane pixel size, mm, one number or two.
        thickness: distance of slices, mm.
        orientation: axis codes of the volumes; the last is the slicing axis.
        largest_component: keep only the largest connected component of each label.
        progress: tell how far it is.
        factory_labels: what the classes mean that the factory draws, from its file; None: as ``labels``.
    Returns:
        Domain name to its client data root.
    Raises:
        InputError: an unknown domain, or one whose name leads out of ``output_dir``, other ``factory_labels`` where the
            factory labels, drawn values or a model's scores that are not finite, or neither a model nor a factory that
            draws label maps.
    Source: Galati et al. 2024, Sec. 2.2 (synthetic source volumes); the twins are ours.
    """
    if model is None:
        _check_meaning(factory_labels, labels)
    wanted = _drawn_domains(domains, source_domain, twin_domains)
    model = model and model.eval()
    size = generator.sizes[-1]
    affine = slice_affine(spacing, thickness, orientation, (size, size, slices))
    index = {name: list(domains).index(name) for name in wanted}
    separate = any(generator.is_flat(number) for number in index.values())
    draw = {name: VolumeGenerator(generator, index[name], slices, separate=separate) for name in wanted}
    for name in wanted:
        inside(output_dir, name)  # names come from the factory's file
    roots = {name: Path(output_dir) / name for name in wanted}
    latents = sample_latents(volumes + validation, generator.z_dim, seed)
    for number, z in enumerate(steps(latents, "synthesis", "subject", progress)):
        with torch.no_grad():
            drawn = {name: draw[name](z[None])[0] for name in wanted}  # (1, S, S, D)
        file = f"synthetic_{number:04d}.nii.gz"
        for name in wanted:
            write_volume(roots[name] / "images" / file, drawn[name][0].numpy().astype(np.float32), affine)
        if model is None:
            label = _tidied(draw[source_domain].labelled(z)[1], largest_component)
        else:
            label = label_volume(model, drawn[source_domain], largest_component)
        for name in wanted:
            write_volume(roots[name] / "labels" / file, label.numpy(), affine)
    for name in wanted:
        _write_datalist(roots[name], name, labels, volumes, validation)
    return roots


def _check_meaning(drawn: Mapping[int, str] | None, labels: Mapping[int, str]) -> None:
    """Refuse a factory whose label maps mean something else."""
    if drawn is not None and {int(k): str(v) for k, v in drawn.items()} != {
        int(k): str(v) for k, v in labels.items()
    }:
        raise InputError(
            f"labels: expected those of the factory's label maps, {shown(dict(drawn))}, found "
            f"{shown(dict(labels))}; give the factory's, or let a source model label"
        )


def _drawn_domains(known: Sequence[str], source: str, twins: Sequence[str] | None) -> list[str]:
    """The source's domain first, then those of the twins."""
    wanted = [source, *(name for name in (known if twins is None else twins) if name != source)]
    for name in wanted:
        if name not in known:
            raise InputError(f"domain {name!r}: the factory knows {', '.join(known)}; name one of them")
    return wanted


def _write_datalist(
    root: Path, domain: str, labels: Mapping[int, str], volumes: int, validation: int
) -> None:
    files = [f"synthetic_{number:04d}.nii.gz" for number in range(volumes + validation)]
    items = [{"image": f"images/{file}", "label": f"labels/{file}"} for file in files]
    head = dataset_head(f"synthetic {domain}", domain, f"synthetic {domain}", labels)
    write_dataset(root, head | {"training": items[:volumes], "validation": items[volumes:], "test": []})


def slice_affine(
    spacing: float | Sequence[float] | None,
    thickness: float,
    orientation: str | None,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Affine (4, 4), mm, of a centred volume whose axes follow ``orientation``.

    Args:
        spacing: in-plane pixel size in mm, one number or that along the first and the second axis; None counts as 1.
        thickness: distance of slices in mm.
        orientation: axis codes, such as "RAS"; None or "native" counts as "RAS".
        shape: of the volume, in voxels.
    """
    codes = "RAS" if orientation in (None, "native") else orientation
    steps = (*in_plane_spacing(1.0 if spacing is None else spacing), float(thickness))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, direction) in enumerate(nib.orientations.axcodes2ornt(codes)):
        affine[int(world), axis] = direction * steps[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def write_volume(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write a NIfTI volume (X, Y, Z) with an affine in mm, as a whole or not at all.

    Raises:
        InputError: a voxel is NaN or infinite.
    """
    if not np.isfinite(array).all():
        raise InputError(
            f"{path}: not written, since the factory draws NaN or infinite values; use another factory, or train it "
            "again with a lower generator_lr"
        )
    return write_nifti(path, array, affine)


class LatentDataset(Dataset):
    """Numbered latents: ``dataset[i]`` is ``{"image": z (z_dim,), "case": "<domain>_<number>"}``.

    The latent depends on the seed and the number alone.

    Args:
        domain: name of the domain, for the file names.
        volumes: how many.
        first: number of the first.
        z_dim: width of z.
        seed: of the latents.
    Raises:
        InputError: fewer than one volume.
    """

    def __init__(self, domain: str, volumes: int, z_dim: int, first: int = 0, seed: int = 0) -> None:
        if volumes < 1 or first < 0:
            raise InputError(f"volumes: expected at least 1, from 0 on, found {volumes} from {first}")
        self.domain, self.volumes, self.first, self.z_dim, self.seed = domain, volumes, first, z_dim, seed

    def __len__(self) -> int:
        return self.volumes

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = self.first + index
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return {"image": torch.randn(self.z_dim, generator=random), "case": f"{self.domain}_{number:04d}"}


class WriteSyntheticd(Transform):
    """Writes a drawn volume, ``pred`` (1, S, S, D), to ``<case>_synthetic.nii.gz`` (float32, [-1, 1]).

    Args:
        output_dir: folder.
        spacing: in-plane pixel size in mm, one number or two.
        thickness: distance of slices in mm.
        orientation: axis codes of the volume.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        spacing: float | Sequence[float] | None,
        thickness: float,
        orientation: str | None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.spacing, self.thickness, self.orientation = spacing, thickness, orientation

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        volume: Tensor = data["pred"][0]
        affine = slice_affine(self.spacing, self.thickness, self.orientation, tuple(volume.shape))
        path = self.output_dir / f"{data['case']}_synthetic.nii.gz"
        write_volume(path, volume.detach().cpu().numpy().astype(np.float32), affine)
        return {**data, "path": str(path)}
