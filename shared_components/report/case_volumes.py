"""Volumes of one case on one grid: the image, its segmentations and the experts' label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from monai.data.utils import affine_to_spacing
from monai.transforms import Orientation

from shared_components.data.image_loader import LoadVolume
from shared_components.data.reading import UNREADABLE, one_line
from shared_components.errors import InputError


class Case(NamedTuple):
    """What there is to look at, on a grid whose axes run to the right, the front and the top.

    image: (T, X, Y, Z); T is 1 unless it is a time series. reference: labels (T, X, Y, Z) or None.
    predictions: method to labels (T, X, Y, Z). size: edges of a voxel, mm (3).
    """

    image: np.ndarray
    reference: np.ndarray | None
    predictions: dict[str, np.ndarray]
    size: np.ndarray

    def labelled(self) -> np.ndarray:
        """Whether anything is segmented in a voxel, (T, X, Y, Z)."""
        parts = [*self.predictions.values(), *([] if self.reference is None else [self.reference])]
        return np.any([part > 0 for part in parts], axis=0) if parts else np.zeros(self.image.shape, bool)


def load_case(
    image: str | Path | None, reference: str | Path | None, predictions: Mapping[str, str | Path]
) -> Case:
    """Read a case.

    Args:
        image: volume or time series, any format of MONAI's readers; without one the labels lie on black.
        reference: the experts' labels on the same grid, or ``None``.
        predictions: method to segmentation on the same grid.
    Raises:
        InputError: a file is missing or unreadable, lies on another grid, or there is none at all.
    """
    grid = image or next(iter(predictions.values()), None) or reference
    if grid is None:
        raise InputError("case: expected an image or a segmentation, found neither")
    voxels, size = read_volume(grid)
    labels = {method: _labels(path, voxels.shape, grid) for method, path in predictions.items()}
    truth = None if reference is None else _labels(reference, voxels.shape, grid)
    return Case(voxels if image else np.zeros_like(voxels), truth, labels, size)


def _labels(path: str | Path, shape: tuple[int, ...], grid: str | Path) -> np.ndarray:
    labels = read_volume(path)[0].round().astype(np.int32)
    if labels.shape != shape:
        raise InputError(
            f"{path}: expected the grid of its image {grid}, {_shown(shape)}, found {_shown(labels.shape)}; "
            "segment that volume again"
        )
    return labels


def _shown(shape: tuple[int, ...]) -> str:
    """(T, X, Y, Z) as a file has it, without the frames of a single volume."""
    return "×".join(str(size) for size in (*shape[1:], *(shape[:1] if shape[0] > 1 else ())))


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A file as (T, X, Y, Z) with axes to the right, front and top, and its voxels' edges, mm.

    Raises:
        InputError: no such file, or it cannot be read.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: expected a volume, found no file")
    try:
        frames = LoadVolume()(path)
        while frames.ndim < 4:  # a single slice
            frames = frames[..., None]
        turned = Orientation("RAS", labels=None)(frames)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected a volume, cannot read it ({one_line(error)}); export it again"
        ) from error
    return np.asarray(turned), np.asarray(affine_to_spacing(turned.affine))[:3]
