"""Label maps made of probability maps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from monai.data.utils import to_affine_nd

from shared_components.data.names import subject_name
from shared_components.data.nifti import write_nifti
from shared_components.data.volume_check import load_volume
from shared_components.errors import InputError


def threshold_map(path: str | os.PathLike, folder: str | os.PathLike, at: float = 0.5) -> Path:
    """Write ``<folder>/<name>.nii.gz``, on the map's grid: 1 where the map is at least ``at``, else 0.

    Raises:
        InputError: the map cannot be read, holds NaN or values beyond 0 to 1, ``at`` is no probability, or the file is
            there already.
    """
    path = Path(path)
    if not 0 < at <= 1:
        raise InputError(f"--at: expected a probability above 0, up to 1, found {at:g}")
    volume, faults = load_volume(path)
    if volume is None:
        raise InputError(str(faults[0]))
    voxels = volume.numpy()[0]
    if not (np.isfinite(voxels).all() and voxels.min() >= 0 and voxels.max() <= 1 + 1e-6):
        raise InputError(
            f"{path}: expected probabilities from 0 to 1, found {voxels.min():g} to {voxels.max():g}; divide by the "
            "largest value first"
        )
    file = Path(folder) / f"{subject_name(path)}.nii.gz"
    if file.exists():
        raise InputError(f"{file}: is there already; remove it or name another folder with --output_dir")
    return write_nifti(file, (voxels >= at).astype(np.uint8), to_affine_nd(3, volume.affine.numpy()))
