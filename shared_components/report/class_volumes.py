"""What a segmentation measures: its grid and the volume of each class, of a time series in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

from shared_components.data.nifti import is_nifti, open_nifti, volume_shape, world_affine
from shared_components.data.reading import UNREADABLE, one_line
from shared_components.errors import InputError
from shared_components.report.case_volumes import read_volume
from shared_components.report.curves import plain
from shared_components.report.figures import NEUTRAL, OUTLINES, figure_uri


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
    path = Path(segmentation)
    if not path.exists():
        raise InputError(f"{path}: expected a segmentation, found no file; run the inference again")
    frames, shape, size, voxel = _nifti(path) if is_nifti(path) else _other(path)
    counts = [[int((frame == value).sum()) for value in values] for frame in frames]
    return Measures(
        shape, size, np.asarray(counts, dtype=float).reshape(len(frames), len(values)) * voxel / 1000
    )


def _nifti(path: Path) -> tuple[np.ndarray, tuple[int, ...], tuple[float, ...], float]:
    """Label values (T, …), the shape, the voxels' edges, mm, and their volume, mm³: less where axes are sheared."""
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


def frames_uri(millilitres: np.ndarray, names: Sequence[str]) -> str:
    """Volume of each class over the frames of a time series, in the colours of the outlines.

    Args:
        millilitres: (T, classes).
        names: of the classes.
    """
    figure = Figure(figsize=(10, 2.3), dpi=110, layout="constrained")
    axis = figure.subplots()
    for place, name in enumerate(names):
        colour = OUTLINES[place % len(OUTLINES)]
        axis.plot(millilitres[:, place], color=colour, linewidth=1.8, marker="o", markersize=3, label=name)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("frame", fontsize=8, color=NEUTRAL)
    plain(axis, "volume, ml")
    return figure_uri(figure)
