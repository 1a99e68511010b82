"""Planes of a case, chosen and turned for looking at."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from shared_components.report.case_volumes import Case

ANISOTROPIC = 1.5  # a voxel edge so many times the next one is the distance of slices
MARGIN = 0.3  # around what is labelled, as a share of its extent
LEAST_MARGIN = 15.0  # mm


class Planes(NamedTuple):
    """Planes to draw: intensities and labels ``(N, H, W)``, and the edges of a pixel (height, width), mm."""

    image: np.ndarray
    reference: np.ndarray | None
    predictions: dict[str, np.ndarray]
    pixel: tuple[float, float]

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        return self.pixel[0] / self.pixel[1]


class View(NamedTuple):
    """One of the three orthogonal planes; ``sides`` are the directions of the body at its left, right, top, bottom."""

    name: str
    planes: Planes
    sides: tuple[str, ...]


VIEWS = (("sagittal", "PASI"), ("coronal", "LRSI"), ("axial", "LRAP"))  # name and sides, by the axis across


def across_slices(case: Case, frame: int, count: int = 5) -> Planes:
    """``count`` planes through what is labelled, across the slices' axis (axial when voxels are even).

    Around what is labelled the planes are cut to a margin; where nothing is, they are whole.
    """
    axis = slice_axis(case.size)
    labelled = case.labelled()[frame]
    planes = _cut(case, frame, axis, _spread(labelled, axis, count))
    flat = np.rot90(labelled.any(axis=axis))
    rows, columns = (_box(flat.any(axis=1 - side), planes.pixel[side]) for side in (0, 1))
    return _mapped(planes, lambda part: part[:, rows, columns])


def orthogonal(case: Case, frame: int) -> list[View]:
    """The axial, coronal and sagittal plane in which most is labelled (the middle ones where nothing is).

    Of a single slice only its own plane is shown.
    """
    labelled = case.labelled()[frame]
    views = []
    for axis, (name, sides) in enumerate(VIEWS):
        per_plane = labelled.sum(axis=tuple(other for other in range(3) if other != axis))
        index = int(per_plane.argmax()) if per_plane.any() else labelled.shape[axis] // 2
        views.append(View(name, _cut(case, frame, axis, [index]), tuple(sides)))
    return [view for view in views if min(view.planes.image.shape[1:]) > 1][::-1] or views[-1:]


def telling_frames(case: Case) -> list[int]:
    """Frames to show of a time series: those that experts labelled, at most two; else of the most and the least."""
    if case.image.shape[0] == 1:
        return [0]
    if case.reference is not None and case.reference.any():
        return np.flatnonzero(case.reference.any(axis=(1, 2, 3)))[:2].tolist()
    filled = case.labelled().sum(axis=(1, 2, 3))
    return sorted({int(filled.argmax()), int(filled.argmin())})


def slice_axis(size: np.ndarray) -> int:
    """The axis along which slices were taken, judged by the voxels' edges (mm): the last when they are even."""
    return int(np.argmax(size)) if size.max() >= ANISOTROPIC * np.median(size) else 2


def _cut(case: Case, frame: int, axis: int, indices: list[int]) -> Planes:
    def cut(volume: np.ndarray) -> np.ndarray:
        return np.stack([np.rot90(np.take(volume[frame], index, axis)) for index in indices])

    across, up = (float(edge) for other, edge in enumerate(case.size) if other != axis)
    whole = Planes(case.image, case.reference, case.predictions, (up, across))
    return _mapped(whole, cut)


def _mapped(planes: Planes, change: Callable[[np.ndarray], np.ndarray]) -> Planes:
    return Planes(
        change(planes.image),
        None if planes.reference is None else change(planes.reference),
        {method: change(part) for method, part in planes.predictions.items()},
        planes.pixel,
    )


def _spread(mask: np.ndarray, axis: int, count: int) -> list[int]:
    """Indices along ``axis``, spread over what is labelled (over the whole volume when nothing is)."""
    used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    first, last = (used[0], used[-1]) if len(used) else (0, mask.shape[axis] - 1)
    margin = 0.12 * (last - first)
    return sorted(set(np.linspace(first + margin, last - margin, count).round().astype(int).tolist()))


def _box(used: np.ndarray, edge: float) -> slice:
    """Where ``used`` is, with a margin; everything where it is nowhere."""
    places = np.flatnonzero(used)
    if not len(places):
        return slice(None)
    margin = int(max(MARGIN * (places[-1] - places[0]), LEAST_MARGIN / edge))
    return slice(max(0, places[0] - margin), places[-1] + margin + 1)
