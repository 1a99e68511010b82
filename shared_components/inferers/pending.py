"""Which cases a run that was interrupted still has to segment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data.utils import to_affine_nd

from shared_components.data.frames import NIFTI, frame_count
from shared_components.data.image_loader import LoadVolume
from shared_components.data.reading import UNREADABLE
from shared_components.inferers.cases import OUTPUT_SUFFIX, Case
from shared_components.inferers.probability_writer import probability_file

TOLERANCE = 1e-3  # mm; affines of one grid differ by the rounding of 32-bit headers


def pending_cases(
    cases: Sequence[Case], output_dir: str | Path, resume: bool, probabilities: bool = False
) -> list[Case]:
    """The cases without a whole output.

    Args:
        cases: all of them.
        output_dir: where their segmentations are or will be.
        resume: leave out cases whose segmentation is there, readable and on the image's grid; otherwise all are
            pending. Which model made it is not known: take another folder for another model.
        probabilities: files of class probabilities must be there too.
    """
    if not resume:
        return list(cases)
    return [case for case in cases if not _is_done(case, Path(output_dir), probabilities)]


def _is_done(case: Case, output_dir: Path, probabilities: bool) -> bool:
    segmentation = output_dir / f"{case['case']}{OUTPUT_SUFFIX}.nii.gz"
    if not segmentation.is_file():
        return False
    try:
        grid = _grid(case["image"])
        frames = frame_count(case["image"])
        if not _same(grid, _grid(segmentation)):
            return False
    except UNREADABLE:  # a bad image is reported when it is read, a bad output is made again
        return False
    items = [case] if frames == 1 else [case | {"frame": t, "frames": frames} for t in range(frames)]
    return not probabilities or all((output_dir / probability_file(item)).is_file() for item in items)


def _grid(path: str | Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape without ones at its end, and affine ``(4, 4)``, mm; the voxels of a NIfTI are not read."""
    if str(path).lower().endswith(NIFTI):
        image = nib.load(path)
        shape, affine = image.shape, image.affine
    else:
        image = LoadVolume()(path)
        shape, affine = tuple(image.shape[1:]), to_affine_nd(3, image.affine.numpy())
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape, affine


def _same(grid: tuple[tuple[int, ...], np.ndarray], other: tuple[tuple[int, ...], np.ndarray]) -> bool:
    return grid[0] == other[0] and np.allclose(grid[1], other[1], atol=TOLERANCE)
