"""What one volume adds to its site's statistics; these numbers never leave the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import Compose

from shared_components.data.annotations import ANNOTATED, mark_unknown, slice_axis, slices_of
from shared_components.data.coverage import Frame, as_seen
from shared_components.data.intensities import with_air
from shared_components.data.label_values import whole
from shared_components.data.problems import in_one_line
from shared_components.data.volume_check import load_volume
from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError

STATES = ("labelled", "partly labelled", "unlabelled")
"""What a volume is labelled: in every slice, in some slices, or not at all."""


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
        "shares": _shares(image, reading),
    }
    if "label" not in item:
        return VolumeNumbers(state="unlabelled", **numbers)
    return VolumeNumbers(**numbers, **_labelled(item, classes))


def _opened(path: str) -> MetaTensor:
    volume, problems = load_volume(Path(path))
    if volume is None:
        raise InputError(in_one_line(problems))
    return volume


def _shares(image: MetaTensor, reading: Reading) -> np.ndarray:
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
