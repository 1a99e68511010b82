"""What of a site's volumes leaves it: nothing that stands for fewer patients than a minimum.

Withholding a small number is of no use where a larger one gives it away: of 12 volumes 11 have labels, so one has
none. Therefore the volumes of a withheld cell are left out of *everything* that is published, totals, means and
histograms alike; all of it follows from the published cells alone, and no difference of two of its numbers can tell
more. The sum over several sites is made of what these publish, and tells nothing of what they do not.

``VolumeNumbers`` are what one volume adds; they never leave the site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import Compose

from shared_components.data.coverage import Frame, as_seen
from shared_components.data.dataset_json import SPLITS
from shared_components.data.faults import in_one_line
from shared_components.data.intensities import with_air
from shared_components.data.label_maps import ANNOTATED, mark_unknown, slice_axis, slices_of, whole
from shared_components.data.volume_check import load_volume
from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError

STATES = ("labelled", "partly labelled", "unlabelled")
"""What a volume is labelled: in every slice, in some slices, or not at all."""

MINIMUM = 3
EQUAL = 1e-9  # deviation of equal values, at most, as a share of their mean
DIGITS = 4  # significant ones of a published mean
Cells = dict[str, dict[str, int | None]]
VOXELS = ("voxel in a slice, first, mm", "voxel in a slice, second, mm", "voxel from slice to slice, mm")
SLICES = "slices"
ANNOTATED_SLICES = "annotated slices"


@dataclass(frozen=True)
class Reading:
    """How a site's volumes are read.

    Attributes:
        frame: what the bundle's networks see of a slice.
        percentiles: intensities of each volume that become -1 and 1.
        bins: of the histogram of these scaled intensities.
    """

    frame: Frame
    percentiles: tuple[float, float]
    bins: int

    @property
    def looked_up(self) -> tuple[float, float, float]:
        """Percentiles of the intensities as stored."""
        return (self.percentiles[0], 50.0, self.percentiles[1])


@dataclass(frozen=True)
class VolumeNumbers:
    """Numbers of one volume.

    Attributes:
        split: of ``dataset.json``.
        patient: whose it is.
        state: one of :data:`STATES`.
        spacing: voxel edges, mm: two in a slice, and from slice to slice.
        slices: number of slices.
        percentiles: intensities as stored, at :attr:`Reading.looked_up`.
        shares: ``(bins,)``, fraction of the voxels in each bin of the scaled intensities.
        annotated: slices of which something is labelled or known to be background.
        millilitres: class value to its volume; of volumes that are labelled in every slice.
    """

    split: str
    patient: str
    state: str
    spacing: tuple[float, ...]
    slices: int
    percentiles: tuple[float, ...]
    shares: np.ndarray
    annotated: int = 0
    millilitres: Mapping[int, float] = field(default_factory=dict)


def volume_numbers(
    item: Mapping[str, Any], split: str, classes: Sequence[int], reading: Reading
) -> VolumeNumbers:
    """Read a volume, and its label map if it has one.

    Args:
        item: as of :meth:`ClientRoot.items`.
        split: that it is of.
        classes: label values, without the background.
        reading: how it is read.
    Raises:
        InputError: a file is missing, damaged or unfit.
    """
    image = with_air(_opened(item["image"]))
    seen = as_seen(image, reading.frame.orientation)
    stored = np.percentile(image.as_tensor().numpy(), reading.looked_up)
    numbers = {
        "split": split,
        "patient": str(item.get("patient", item["image"])),
        "spacing": tuple(affine_to_spacing(seen.affine, 3).tolist()),
        "slices": int(seen.shape[3]),
        "percentiles": tuple(stored.tolist()),
        "shares": _histogram(image, reading),
    }
    if "label" not in item:
        return VolumeNumbers(state="unlabelled", **numbers)
    return VolumeNumbers(**numbers, **_labelled(item, classes))


def _opened(path: str) -> MetaTensor:
    volume, faults = load_volume(Path(path))
    if volume is None:
        raise InputError(in_one_line(faults))
    return volume


def _histogram(image: MetaTensor, reading: Reading) -> np.ndarray:
    frame = reading.frame
    _, _, *steps = volume_transforms(  # without reading the file, which is open
        ("image",),
        frame.size,
        frame.spacing,
        frame.orientation,
        reading.percentiles,
        crop=False,
        one_step=True,
    ).transforms
    scaled = Compose(steps)({"image": image})["image"]
    counts, _ = np.histogram(scaled.as_tensor().numpy(), reading.bins, range=(-1, 1))
    return counts / counts.sum()


def _labelled(item: Mapping[str, Any], classes: Sequence[int]) -> dict[str, Any]:
    label = _opened(item["label"])
    known = mark_unknown(whole(label.as_tensor()), item)
    axis = slice_axis(item.get(ANNOTATED))
    annotated = len(slices_of(known >= 0, axis))
    if annotated < known.shape[1 + axis]:
        return {"state": "partly labelled", "annotated": annotated}
    millilitres = abs(float(torch.linalg.det(label.affine.double()[:3, :3]))) / 1000
    volumes = {value: float((known == value).sum()) * millilitres for value in classes}
    return {"state": "labelled", "annotated": annotated, "millilitres": volumes}


def published(
    volumes: Sequence[VolumeNumbers],
    labels: Mapping[int, str],
    looked_up: Sequence[float],
    minimum: int = MINIMUM,
) -> dict[str, Any]:
    """The statistics of one domain at one site that may leave it; plain numbers and texts.

    Args:
        volumes: all of the domain.
        labels: label value to class name.
        looked_up: percentiles at which intensities were looked up.
        minimum: patients that a published number must stand for.
    Returns:
        ``cells``: split -> state -> volumes, None where withheld. ``measures``: name -> ``n``, ``mean`` and ``sd``
        over the volumes of published cells; one that stands for too few patients is left out. ``intensity``: ``n``
        and ``shares`` of the scaled intensities, None in a bin that voxels of too few patients fall into; left out
        where no cell is published.
    """
    cells: Cells = {split: {} for split in SPLITS}
    kept: list[VolumeNumbers] = []
    for split in SPLITS:
        for state in STATES:
            cell = [volume for volume in volumes if (volume.split, volume.state) == (split, state)]
            shown = not cell or _patients(cell) >= minimum
            cells[split][state] = len(cell) if shown else None
            kept += cell if shown else []
    found: dict[str, Any] = {"cells": cells, "measures": {}}
    if kept:
        found["measures"] = dict(_measures(kept, labels, looked_up, minimum))
        found["intensity"] = {"n": len(kept), "shares": _shares(kept, minimum)}
    return found


def _patients(volumes: Sequence[VolumeNumbers]) -> int:
    return len({volume.patient for volume in volumes})


def percentile_name(percentile: float) -> str:
    """Name of the measure for a percentile of the intensities as stored."""
    return f"intensity, percentile {percentile:g}"


def class_name(name: str) -> str:
    """Name of the measure for the volume of a class."""
    return f"volume of {name}, ml"


def _measures(
    kept: Sequence[VolumeNumbers], labels: Mapping[int, str], looked_up: Sequence[float], minimum: int
) -> Iterator[tuple[str, dict[str, float]]]:
    for axis, name in enumerate(VOXELS):
        yield name, _summary([volume.spacing[axis] for volume in kept])
    yield SLICES, _summary([volume.slices for volume in kept])
    for place, percentile in enumerate(looked_up):
        yield percentile_name(percentile), _summary([volume.percentiles[place] for volume in kept])
    mapped = [volume for volume in kept if volume.state != "unlabelled"]
    if mapped:
        yield ANNOTATED_SLICES, _summary([volume.annotated for volume in mapped])
    labelled = [volume for volume in kept if volume.state == "labelled"]
    for value, name in labels.items():
        carriers = _patients([volume for volume in labelled if volume.millilitres.get(value)])
        if value and labelled and not 0 < carriers < minimum:
            yield class_name(name), _summary([volume.millilitres[value] for volume in labelled])


def _summary(values: Sequence[float]) -> dict[str, float]:
    mean = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"n": len(values), "mean": rounded(mean), "sd": rounded_deviation(spread, mean)}


def rounded(value: float) -> float:
    """A number with :data:`DIGITS` significant digits: more of them would tell single values apart."""
    return float(f"{value:.{DIGITS}g}")


def rounded_deviation(deviation: float, mean: float) -> float:
    """As :func:`rounded`; 0 where it is no more than what floating point makes of equal values."""
    return rounded(deviation) if deviation > EQUAL * abs(mean) else 0.0


def _shares(kept: Sequence[VolumeNumbers], minimum: int) -> list[float | None]:
    """Mean share of each bin among the published ones, so that they leave nothing to a withheld one."""
    shares = np.stack([volume.shares for volume in kept])  # (volumes, bins)
    patients = [_patients([v for v, share in zip(kept, column, strict=True) if share]) for column in shares.T]
    shown = np.asarray([not 0 < number < minimum for number in patients])
    means = np.where(shown, shares.mean(0), 0)
    means = means / max(means.sum(), np.finfo(float).tiny)
    return [rounded(float(mean)) if open_ else None for mean, open_ in zip(means, shown, strict=True)]
