"""Planes of a volume and of its segmentations, chosen and turned for looking at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from monai.data.utils import affine_to_spacing
from monai.transforms import Compose, LoadImage, Orientation

from shared_components.data.reading import read
from shared_components.errors import InputError

ANISOTROPIC = 1.5  # a voxel edge so many times the next one is the distance of slices


class Planes(NamedTuple):
    """Planes to draw: intensities and labels ``(N, H, W)``, and the height of a pixel over its width."""

    image: np.ndarray
    reference: np.ndarray | None
    predictions: dict[str, np.ndarray]
    aspect: float


def load_planes(
    image: str | Path, reference: str | Path | None, predictions: Mapping[str, str | Path], count: int = 5
):
    """Cut ``count`` planes through what is labelled, across the slices' axis (axial when voxels are even).

    Args:
        image: volume, any format of MONAI's readers.
        reference: the experts' labels on the same grid, or ``None``.
        predictions: method to segmentation on the same grid.
        count: planes.
    Returns:
        :class:`Planes`, the front or the top of the body up.
    Raises:
        InputError: a file is missing or unreadable, or lies on another grid than the image.
    """
    volume, voxel = _load(image)
    labels = {
        method: _load(path, volume.shape)[0].round().astype(int) for method, path in predictions.items()
    }
    truth = None if reference is None else _load(reference, volume.shape)[0].round().astype(int)
    axis = int(np.argmax(voxel)) if voxel.max() >= ANISOTROPIC * np.median(voxel) else 2
    labelled = np.zeros(volume.shape, bool)
    for part in [*labels.values(), *([] if truth is None else [truth])]:
        labelled |= part > 0
    shown = _spread(labelled, axis, count)

    def cut(array: np.ndarray) -> np.ndarray:
        return np.stack([np.rot90(np.take(array, index, axis)) for index in shown])

    across, up = (size for other, size in enumerate(voxel) if other != axis)
    return Planes(
        cut(volume),
        None if truth is None else cut(truth),
        {method: cut(part) for method, part in labels.items()},
        float(up / across),
    )


def _load(path: str | Path, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A volume with axes to the right, front and top, and its voxel sizes (mm)."""
    if not Path(path).exists():
        raise InputError(f"{path}: expected a volume, found no file")
    volume = read(_reader(), path)[0]
    if volume.ndim != 3 or (shape is not None and volume.shape != shape):
        raise InputError(f"{path}: expected the grid of its image, {shape}, found {tuple(volume.shape)}")
    return np.asarray(volume), np.asarray(affine_to_spacing(volume.affine))[:3]


def _reader() -> Compose:
    return Compose([LoadImage(image_only=True, ensure_channel_first=True), Orientation("RAS", labels=None)])


def _spread(mask: np.ndarray, axis: int, count: int) -> list[int]:
    """Indices along ``axis``, spread over what is labelled (over the whole volume when nothing is)."""
    used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    first, last = (used[0], used[-1]) if len(used) else (0, mask.shape[axis] - 1)
    margin = 0.12 * (last - first)
    return sorted(set(np.linspace(first + margin, last - margin, count).round().astype(int).tolist()))
