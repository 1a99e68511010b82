"""Volumes of one case on one grid, and what a segmentation measures: the volume of each class, in every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing, to_affine_nd
from monai.transforms import Orientation

from shared_components.data.faults import UNREADABLE, one_line
from shared_components.data.grids import grid_fault
from shared_components.data.image_loader import LoadVolume
from shared_components.data.intensities import with_air
from shared_components.data.names import is_picture
from shared_components.data.nifti import is_nifti, open_nifti, volume_shape, world_affine
from shared_components.errors import InputError

AS_LOOKED_AT = (
    "LAS"  # axes of a picture whose columns are read from left to right and whose first row is the top
)


class CaseVolumes(NamedTuple):
    """What there is to look at, on a grid whose axes run to the right, the front and the top.

    image: (T, X, Y, Z); T is 1 unless it is a time series. reference: labels (T, X, Y, Z) or None.
    predictions: method to labels (T, X, Y, Z). size: edges of a voxel, mm (3). placed: whether the file says how it
    lies in the body; a picture does not, and its axes run as one looks at it, to the right and to the top.
    """

    image: np.ndarray
    reference: np.ndarray | None
    predictions: dict[str, np.ndarray]
    size: np.ndarray
    placed: bool = True

    def labelled(self) -> np.ndarray:
        """Whether anything is segmented in a voxel, (T, X, Y, Z)."""
        parts = [*self.predictions.values(), *([] if self.reference is None else [self.reference])]
        return np.any([part > 0 for part in parts], axis=0) if parts else np.zeros(self.image.shape, bool)


def load_case(
    image: str | Path | None,
    reference: str | Path | None,
    predictions: Mapping[str, str | Path],
    ignore: int | None = None,
) -> CaseVolumes:
    """Read a case.

    Args:
        image: volume or time series, any format of MONAI's readers; without one the labels lie on black.
        reference: the experts' labels on the same grid, or ``None``.
        predictions: method to segmentation on the same grid.
        ignore: value of the reference's voxels that nobody annotated; they are shown as background.
    Raises:
        InputError: a file is missing or unreadable, lies on another grid, or there is none at all.
    """
    grid = image or next(iter(predictions.values()), None) or reference
    if grid is None:
        raise InputError("case: expected an image or a segmentation, found neither")
    axes = AS_LOOKED_AT if is_picture(grid) else "RAS"
    volume = _turned(grid, axes)
    labels = {method: _labels(path, volume, grid, axes) for method, path in predictions.items()}
    truth = None if reference is None else _labels(reference, volume, grid, axes)
    voxels = np.asarray(with_air(volume)) if image else np.zeros(volume.shape, np.float32)
    if truth is not None and ignore is not None:
        truth = np.where(truth == ignore, 0, truth)
    return CaseVolumes(voxels, truth, labels, _edges(volume), axes == "RAS")


def _labels(path: str | Path, volume: MetaTensor, grid: str | Path, axes: str) -> np.ndarray:
    labels = _turned(path, axes)
    mine, its = ((*each.shape[1:], each.shape[0]) for each in (labels, volume))
    fault = grid_fault(mine, labels.affine, its, volume.affine)
    if fault:
        raise InputError(f"{path}: expected the grid of its image {grid}: {fault}; segment that volume again")
    return _known(path, np.asarray(labels)).round().astype(np.int32)


def _known(path: str | Path, values: np.ndarray) -> np.ndarray:
    """Label values as they are.

    Raises:
        InputError: there is NaN among them, or infinity, or there is none.
    """
    if not values.size:
        raise InputError(f"{path}: expected label values, found a volume without voxels; export it again")
    if not np.isfinite(values).all():
        raise InputError(f"{path}: expected label values, found NaN or infinite ones; export it again")
    return values


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A file as (T, X, Y, Z) with axes to the right, front and top, and its voxels' edges, mm.

    Raises:
        InputError: no such file, or it cannot be read.
    """
    turned = _turned(path)
    return np.asarray(turned), _edges(turned)


def _edges(volume: MetaTensor) -> np.ndarray:
    """Edges of a voxel, mm, (3)."""
    return np.asarray(affine_to_spacing(volume.affine))[:3]


def _turned(path: str | Path, axes: str = "RAS") -> MetaTensor:
    if not Path(path).exists():
        raise InputError(f"{path}: expected a volume, found no file")
    try:
        frames = LoadVolume()(path)
        while frames.ndim < 4:  # a single slice
            frames = frames[..., None]
        frames.affine = to_affine_nd(3, frames.affine)  # ITK's 2-D images have one of (3, 3)
        return Orientation(axes, labels=None)(frames)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected a volume, cannot read it ({one_line(error)}); export it again"
        ) from error


class Measures(NamedTuple):
    """shape: as in the file. size: edges of a voxel, mm. millilitres: (T, classes), T is 1 for a single volume."""

    shape: tuple[int, ...]
    size: tuple[float, ...]
    millilitres: np.ndarray


def measure(segmentation: str | Path, values: Sequence[int]) -> Measures:
    """Measure a label volume.

    Args:
        segmentation: any format of MONAI's readers; NIfTI is read without a copy in floating point.
        values: labels, in the order of the columns.
    Raises:
        InputError: no such file, or it cannot be read.
    """
    frames, shape, size, voxel = _segmentation(Path(segmentation))
    counts = [[int((frame == value).sum()) for value in values] for frame in frames]
    return Measures(
        shape, size, np.asarray(counts, dtype=float).reshape(len(frames), len(values)) * voxel / 1000
    )


def label_values(segmentation: str | Path) -> set[int]:
    """Values that occur in a label volume; errors as of :func:`measure`."""
    return {int(value) for value in np.unique(_segmentation(Path(segmentation))[0])}


def _segmentation(path: Path) -> tuple[np.ndarray, tuple[int, ...], tuple[float, ...], float]:
    """Label values (T, …), the shape, the voxels' edges, mm, and their volume, mm³: less where axes are sheared."""
    if not path.exists():
        raise InputError(f"{path}: expected a segmentation, found no file; run the inference again")
    values, *grid = _nifti(path) if is_nifti(path) else _other(path)
    return _known(path, values), *grid


def _nifti(path: Path) -> tuple[np.ndarray, tuple[int, ...], tuple[float, ...], float]:
    try:
        volume = open_nifti(path)
        values = np.asarray(volume.dataobj).reshape(volume_shape(volume.shape))
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected a segmentation, cannot read it ({one_line(error)}); run the inference again"
        ) from error
    affine = world_affine(volume)
    size = tuple(float(edge) for edge in nib.affines.voxel_sizes(affine))
    values = values.round() if values.dtype.kind == "f" else values
    frames = np.moveaxis(values, 3, 0) if values.ndim > 3 else values[None]
    return frames, volume.shape, size, abs(float(np.linalg.det(affine[:3, :3])))


def _other(path: Path) -> tuple[np.ndarray, tuple[int, ...], tuple[float, ...], float]:
    values, size = read_volume(path)
    shape = (*values.shape[1:], *(values.shape[:1] if len(values) > 1 else ()))
    return values.round(), shape, tuple(float(edge) for edge in size), float(np.prod(size))
