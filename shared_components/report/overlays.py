"""Segmentations drawn on their volumes, in planes that are chosen and turned for looking at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from shared_components.metrics.score_files import literal
from shared_components.report.case_volumes import CaseVolumes, load_case
from shared_components.report.pages import NEUTRAL, OUTLINES, REFERENCE, Picture, slices_uri

WIDTH = 10.0  # inches
HIGHEST = 3.6  # inches
FILLING = 0.22  # opacity of the classes' areas
TITLE = 0.25  # inches
GAP = 0.06  # inches
SIDES = (  # where the letters of a view's sides stand, and how they are aligned: left, right, top, bottom
    (0.02, 0.5, "left", "center"),
    (0.98, 0.5, "right", "center"),
    (0.5, 0.98, "center", "top"),
    (0.5, 0.02, "center", "bottom"),
)
ANISOTROPIC = 1.5  # a voxel edge so many times the next one is the distance of slices
FEW = 4  # times as many voxels along the last axis: then slices were taken along the shortest
HIGHEST_PAGE = 120.0  # inches; a picture of WebP has at most 16383 pixels
MARGIN = 0.3  # around what is labelled, as a share of its extent
LEAST_MARGIN = 15.0  # mm
VIEWS = (("sagittal", "PASI"), ("coronal", "LRSI"), ("axial", "LRAP"))  # name and sides, by the axis across


def overlay(
    image: str | Path,
    reference: str | Path | None,
    predictions: Mapping[str, str | Path],
    labels: Sequence[int],
    caption: str,
    ignore: int | None = None,
) -> Picture:
    """A picture of one case, planes in columns and methods in lines; of a time series its most telling frame.

    Arguments as for :func:`~shared_components.report.case_volumes.load_case`.

    Raises:
        InputError: a file is missing, unreadable or on another grid.
    """
    case = load_case(image, reference, predictions, ignore)
    return slices_picture(case, telling_frames(case)[0], labels, caption)


def slices_picture(case: CaseVolumes, frame: int, labels: Sequence[int], caption: str = "") -> Picture:
    """Planes through what is segmented, one beside the other."""
    planes = across_slices(case, frame)
    uri = outlines_uri(planes.image, planes.reference, planes.predictions, labels, planes.aspect)
    return Picture(uri, caption, alternative="slices")


def orthogonal_picture(case: CaseVolumes, frame: int, labels: Sequence[int], caption: str = "") -> Picture:
    """The three orthogonal planes in which most is segmented."""
    return Picture(orthogonal_uri(orthogonal(case, frame), labels), caption, alternative="orthogonal planes")


def legend(labels: Mapping[int, str], reference: bool) -> list[tuple[str, str]]:
    """Colour and what it means, for outlines drawn in the order of ``labels``."""
    entries = [(OUTLINES[place % len(OUTLINES)], name) for place, name in enumerate(labels.values())]
    return [*entries, *([(REFERENCE, "the experts' label")] if reference else [])]


def outlines_uri(
    planes: np.ndarray,
    reference: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    labels: Sequence[int],
    aspect: float = 1.0,
) -> str:
    """Planes of one volume in columns, a line for each prediction, with outlines drawn on them.

    Args:
        planes: intensities ``(N, H, W)``.
        reference: labels of the experts, the same shape: one colour, under the predictions.
        predictions: method to labels, the same shape: one colour for each label.
        labels: label values to outline.
        aspect: height of a pixel over its width.
    """
    lines = predictions or {"": np.zeros_like(planes, dtype=int)}
    count, (height, width) = len(planes), planes.shape[1:]
    cell = 10.0 / max(count, 5)  # inches
    title = 0.28 if any(lines) else 0.04
    tall = min(cell * aspect * height / width, HIGHEST_PAGE / len(lines))
    figure = Figure(figsize=(cell * count, len(lines) * (tall + title)), dpi=110)
    axes = figure.subplots(len(lines), count, squeeze=False)
    low, high = np.percentile(planes, (0.5, 99.5))
    for line, (method, predicted) in zip(axes, lines.items(), strict=True):
        for index, axis in enumerate(line):
            axis.imshow(planes[index], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
            axis.set_axis_off()
            for place, label in enumerate(labels):
                if reference is not None:
                    outline(axis, reference[index] == label, REFERENCE, 1.0)
                outline(axis, predicted[index] == label, OUTLINES[place % len(OUTLINES)], 1.3)
        line[0].set_title(literal(method), loc="left", fontsize=9.5, color=NEUTRAL, pad=4)
    figure.subplots_adjust(
        left=0, right=1, bottom=0, top=1 - (title - 0.02) / figure.get_figheight(), wspace=0.02, hspace=0.12
    )
    return slices_uri(figure)


def orthogonal_uri(views: Sequence[View], labels: Sequence[int]) -> str:
    """Planes with filled and outlined classes, all at one scale, the directions of the body at their edges.

    Args:
        views: what :func:`~shared_components.report.overlays.orthogonal` chose; of several methods the last is drawn.
        labels: label values to draw, in the legend's order.
    """
    extents = [_extent(view) for view in views]  # mm
    gaps = GAP * (len(views) - 1)
    scale = (WIDTH - gaps) / sum(width for _, width in extents)
    scale = min(scale, HIGHEST / max(height for height, _ in extents))  # inches per mm
    width, height = WIDTH, scale * max(height for height, _ in extents) + TITLE
    figure = Figure(figsize=(width, height), dpi=110)
    left = 0.0
    for view, (tall, wide) in zip(views, extents, strict=True):
        box = (left / width, 1 - (TITLE + scale * tall) / height, scale * wide / width, scale * tall / height)
        _draw(figure.add_axes(box), view, labels)
        left += scale * wide + GAP
    return slices_uri(figure)


def _extent(view: View) -> tuple[float, float]:
    """Height and width of a plane, mm."""
    rows, columns = view.planes.image.shape[1:]
    return rows * view.planes.pixel[0], columns * view.planes.pixel[1]


def _draw(axis: Axes, view: View, labels: Sequence[int]) -> None:
    planes = view.planes
    low, high = np.percentile(planes.image, (0.5, 99.5))
    axis.imshow(planes.image[0], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect="auto")
    predicted = list(planes.predictions.values())[-1][0] if planes.predictions else None
    for place, label in enumerate(labels):
        if planes.reference is not None:
            outline(axis, planes.reference[0] == label, REFERENCE, 1.0)
        if predicted is not None:
            colour = OUTLINES[place % len(OUTLINES)]
            axis.imshow(_area(predicted == label, colour), aspect="auto", interpolation="nearest")
            outline(axis, predicted == label, colour, 1.2)
    axis.set_axis_off()
    axis.set_title(view.name, loc="left", fontsize=9.5, color=NEUTRAL, pad=4)
    for text, (x, y, across, up) in zip(view.sides, SIDES, strict=False):  # a picture has none
        letter = axis.text(
            x, y, text, transform=axis.transAxes, ha=across, va=up, fontsize=7.5, color="#e4e8ee"
        )
        letter.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def _area(mask: np.ndarray, colour: str) -> np.ndarray:
    """(H, W, RGBA) of a class, clear elsewhere."""
    area = np.zeros((*mask.shape, 4))
    area[mask] = (*to_rgb(colour), FILLING)
    return area


def outline(axis, mask: np.ndarray, colour: str, width: float) -> None:
    """Draw the border of a mask, if it has one and is no single line of pixels."""
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axis.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=width)


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
    """One of the three orthogonal planes; ``sides`` are the directions of the body at its left, right, top, bottom,
    none where they are not known.
    """

    name: str
    planes: Planes
    sides: tuple[str, ...]


def across_slices(case: CaseVolumes, frame: int, count: int = 5) -> Planes:
    """``count`` planes through what is labelled, across the slices' axis (axial when voxels are even).

    Around what is labelled the planes are cut to a margin; where nothing is, they are whole.
    """
    axis = slice_axis(case.size, case.image.shape[1:])
    labelled = case.labelled()[frame]
    planes = _cut(case, frame, axis, _spread(labelled, axis, count))
    flat = np.rot90(labelled.any(axis=axis))
    rows, columns = (_box(flat.any(axis=1 - side), planes.pixel[side]) for side in (0, 1))
    return _mapped(planes, lambda part: part[:, rows, columns])


def orthogonal(case: CaseVolumes, frame: int) -> list[View]:
    """The axial, coronal and sagittal plane in which most is labelled (the middle ones where nothing is).

    Of a single slice only its own plane is shown.
    """
    labelled = case.labelled()[frame]
    views = []
    for axis, (name, sides) in enumerate(VIEWS):
        per_plane = labelled.sum(axis=tuple(other for other in range(3) if other != axis))
        index = int(per_plane.argmax()) if per_plane.any() else labelled.shape[axis] // 2
        views.append(View(name, _cut(case, frame, axis, [index]), tuple(sides)))
    if not case.placed:
        return [View("", views[-1].planes, ())]
    return [view for view in views if min(view.planes.image.shape[1:]) > 1][::-1] or views[-1:]


def telling_frames(case: CaseVolumes) -> list[int]:
    """Frames to show of a time series: those that experts labelled, at most two; else of the most and the least."""
    if case.image.shape[0] == 1:
        return [0]
    if case.reference is not None and case.reference.any():
        return np.flatnonzero(case.reference.any(axis=(1, 2, 3)))[:2].tolist()
    filled = case.labelled().sum(axis=(1, 2, 3))
    return sorted({int(filled.argmax()), int(filled.argmin())})


def slice_axis(size: np.ndarray, shape: Sequence[int]) -> int:
    """The axis along which slices were taken: that of a single slice, of the voxels' long edge (mm), or of few slices;
    the last where voxels and volume are even.
    """
    if 1 in shape:
        return max(axis for axis in range(3) if shape[axis] == 1)
    if size.max() >= ANISOTROPIC * np.median(size):
        return int(np.argmax(size))
    return int(np.argmin(shape)) if FEW * min(shape) <= shape[2] else 2


def _cut(case: CaseVolumes, frame: int, axis: int, indices: list[int]) -> Planes:
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
