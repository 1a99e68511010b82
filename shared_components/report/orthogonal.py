"""Three planes of one volume beside each other, to scale, with its segmentation over it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from shared_components.report.figures import NEUTRAL, OUTLINES, REFERENCE, figure_uri, outline
from shared_components.report.planes import View

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


def orthogonal_uri(views: Sequence[View], labels: Sequence[int]) -> str:
    """Planes with filled and outlined classes, all at one scale, the directions of the body at their edges.

    Args:
        views: what :func:`~shared_components.report.planes.orthogonal` chose; of several methods the last is drawn.
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
    return figure_uri(figure)


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
    for text, (x, y, across, up) in zip(view.sides, SIDES, strict=True):
        letter = axis.text(
            x, y, text, transform=axis.transAxes, ha=across, va=up, fontsize=7.5, color="#e4e8ee"
        )
        letter.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def _area(mask: np.ndarray, colour: str) -> np.ndarray:
    """(H, W, RGBA) of a class, clear elsewhere."""
    area = np.zeros((*mask.shape, 4))
    area[mask] = (*to_rgb(colour), FILLING)
    return area
