"""Where the volume in a file lies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from monai.data.utils import to_affine_nd

from shared_components.data.dicom import is_series_or_slice, read_stack
from shared_components.data.image_loader import LoadVolume
from shared_components.data.nifti import is_nifti, open_nifti, world_affine


def stored_grid(path: str | os.PathLike) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape as stored, and affine to RAS world, ``(4, 4)``, mm; the voxels of NIfTI and DICOM are not read."""
    if is_nifti(path):
        image = open_nifti(path)
        return tuple(image.shape), world_affine(image)
    if is_series_or_slice(Path(path)):
        stack = read_stack(Path(path))
        return stack.shape, stack.affine
    image = LoadVolume()(path)
    frames, *shape = image.shape
    return (*shape, *([frames] if frames > 1 else [])), to_affine_nd(3, image.affine.numpy())
