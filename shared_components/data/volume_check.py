"""What can be wrong with one image or one label map."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from torch import Tensor

from shared_components.data.coverage import Frame, label_reach
from shared_components.data.faults import UNREADABLE, Fault
from shared_components.data.grids import GRID_TOLERANCE, grid_distance
from shared_components.data.image_loader import LoadVolume
from shared_components.data.intensities import constant_faults, voxel_faults
from shared_components.data.label_maps import (
    ANNOTATED,
    FORMS,
    IGNORE,
    listed_slices,
    mark_unknown,
    slice_axis,
    slices_of,
    value_faults,
    values_in,
)
from shared_components.data.transforms import as_volume, dimension_faults, slice_faults
from shared_components.data.volume_faults import (
    file_faults,
    packing_faults,
    read_grid_faults,
    reading_fault,
)
from shared_components.errors import InputError

_RESAMPLE = "resample the label onto its image's grid, nearest neighbour"


@dataclass(frozen=True)
class ImageGrid:
    """Size and place of an image.

    Attributes:
        shape: voxels along each axis.
        spacing: voxel size along each axis, mm.
        axes: direction of each axis, such as ``"RAS"``.
        digest: fingerprint of the voxels, the same for copies of one image.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    axes: str
    digest: str


def check_image(path: Path, orientation: str | None = None) -> tuple[MetaTensor | None, list[Fault]]:
    """Open an image and list its faults.

    Args:
        path: a file or a DICOM folder.
        orientation: axis codes, slices along the last; ``None`` for the file's own axes.
    Returns:
        The volume ``(1, H, W, D)``, or ``None`` when it cannot be used at all, and the faults.
    """
    image, faults = load_volume(path)
    if image is None:
        return None, faults
    voxels = image.as_tensor()
    faults += [*voxel_faults(path, voxels), *slice_faults(path, image, orientation)]
    return image, faults or list(constant_faults(path, voxels))


class LabelFound(NamedTuple):
    """What a label map holds: the values of its known voxels, how many of how many slices are annotated, and which
    share of what is labelled lies outside a frame."""

    values: Set[int] = frozenset()
    annotated: int = 0
    slices: int = 0
    outside: float = 0.0


def check_label(
    path: Path,
    image: MetaTensor | None,
    labels: Collection[int] | None,
    known: Mapping[str, Any] | None = None,
    frame: Frame | None = None,
) -> tuple[LabelFound, list[Fault]]:
    """Open a label map and list its faults.

    Args:
        path: the label map.
        image: its image, ``(1, H, W, D)``; ``None`` if that could not be opened.
        labels: the values that may occur; ``None`` if they are not known.
        known: ``annotated`` and ``ignore``, see :mod:`.label_maps`.
        frame: what networks see of a slice; ``None`` if that is not known.
    Returns:
        What it holds, nothing if it cannot be used, and the faults.
    """
    label, faults = load_volume(path)
    if label is None:
        return LabelFound(), faults
    voxels, known = label.as_tensor(), dict(known or {})
    faults += value_faults(path, voxels, labels, known.get(IGNORE))
    found, unfit = (LabelFound(), []) if faults else _known(path, voxels, known)
    faults += unfit
    if image is not None:
        faults += _grid_faults(path, label, image)
    if frame is not None and not faults:
        marked = MetaTensor(mark_unknown(voxels, {IGNORE: known.get(IGNORE)}), affine=label.affine)
        found = found._replace(outside=label_reach(marked, frame).outside(frame.size))
    return found, faults


def _known(path: Path, voxels: Tensor, known: Mapping[str, Any]) -> tuple[LabelFound, list[Fault]]:
    """What is known of a sound label map ``(1, X, Y, Z)``, and what its entry says wrongly of it."""
    axis, seen = slice_axis(known.get(ANNOTATED)), mark_unknown(voxels, {IGNORE: known.get(IGNORE)})
    try:
        marked = mark_unknown(seen, {ANNOTATED: known.get(ANNOTATED), "label": path})
    except InputError as error:
        fault, cure = str(error).removeprefix(f"{path}: ").split("; ", 1)
        return LabelFound(), [Fault(str(path), fault, cure)]
    stated = slices_of(marked >= 0, axis)
    found = LabelFound(values_in(marked[marked >= 0]), len(stated), voxels.shape[1 + axis])
    if not stated:
        return found, [Fault(str(path), "nothing of it is annotated", "take its entry's 'label' out")]
    left_out = [number for number in slices_of(seen > 0, axis) if number not in stated]
    fault = f"has labels in {listed_slices(left_out)}, which 'annotated' leaves out"
    return found, [Fault(str(path), fault, FORMS)] if left_out else []


def load_volume(path: Path) -> tuple[MetaTensor | None, list[Fault]]:
    """Open a file or DICOM folder as one volume ``(1, H, W, D)``; a 2-D image becomes one slice."""
    faults = list(file_faults(path)) or list(packing_faults(path))
    if faults:
        return None, faults
    try:
        image = LoadVolume()(path)
    except UNREADABLE as error:
        return None, [reading_fault(path, error)]
    faults = list(dimension_faults(path, image))
    if faults:
        return None, faults
    volume = as_volume(image)
    faults = list(read_grid_faults(path, volume))
    return (None, faults) if faults else (volume, [])


def _grid_faults(path: Path, label: MetaTensor, image: MetaTensor) -> Iterator[Fault]:
    if label.shape != image.shape:
        mine, its = ("×".join(map(str, volume.shape[1:])) for volume in (label, image))
        yield Fault(str(path), f"has {mine} voxels, its image {its}", _RESAMPLE)
        return
    distance = grid_distance(image.affine, label.affine, image.shape[1:])
    if distance > GRID_TOLERANCE:
        fault = f"another affine than its image's: corners lie up to {distance:.3g} voxels apart"
        yield Fault(str(path), fault, _RESAMPLE)


def grid_of(image: MetaTensor) -> ImageGrid:
    """Shape, voxel size, axes and fingerprint of a sound volume ``(1, H, W, D)``."""
    voxels = np.ascontiguousarray(image.numpy())
    return ImageGrid(
        shape=tuple(image.shape[1:]),
        spacing=tuple(affine_to_spacing(image.affine).tolist()),
        axes="".join(nibabel.aff2axcodes(image.affine.numpy())),
        digest=hashlib.blake2b(voxels.tobytes() + str(voxels.shape).encode(), digest_size=16).hexdigest(),
    )
