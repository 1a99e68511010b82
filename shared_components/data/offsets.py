"""Grey values on an offset so large that float32, in which images are read, cannot tell them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.data import ImageReader

LEVELS = 4096
"""Steps of float32 that grey values must span at least: those of a scanner's 12 bits."""
_EXACT = 2.0**53  # beyond, float64 has no steps of one either: such values are fill values


def without_offset(voxels: np.ndarray) -> np.ndarray:
    """Voxels less the lowest of them, where float32 would make few values of many; else as they are.

    Networks see differences alone: 10⁶ + n / 10⁴ is an image, though float32 has steps of 1 / 16 there. What float32
    holds as it is, as all label maps, stays, and so do voxels among which one of padding lies far from the others.

    Args:
        voxels: of a file, in its own type; any shape, NaN included.
    """
    kind, size = voxels.dtype.kind, voxels.dtype.itemsize
    if kind not in "iuf" or size < 4 or (kind == "f" and size == 4) or not voxels.size:
        return voxels
    low, high = np.fmin.reduce(voxels, axis=None), np.fmax.reduce(voxels, axis=None)
    largest = max(abs(float(low)), abs(float(high)))
    if not low < high or not largest < _EXACT:  # NaN and infinite ones too
        return voxels
    if float(high) - float(low) >= LEVELS * float(np.spacing(np.float32(largest))):
        return voxels
    if ((voxels.astype(np.float32) == voxels) | np.isnan(voxels)).all():
        return voxels
    return voxels - low


class OffsetFreeReader:
    """A reader of MONAI's that gives voxels :func:`without_offset`."""

    def __init__(self, reader: ImageReader) -> None:
        self._reader = reader

    def read(self, data: Any) -> Any:
        """What the reader reads."""
        return self._reader.read(data)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Its voxels, and its metadata as they are."""
        voxels, meta = self._reader.get_data(img)
        return without_offset(voxels), meta
