"""Pictures for a page: files, slices and outlines of segmentations, each a PNG inside a data URI."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from shared_components.errors import InputError

NEUTRAL = "#7f8b99"  # reads on white and on black
REFERENCE = "#22d3ee"
OUTLINES = ("#f59e0b", "#e879f9", "#a3e635", "#fb7185", "#818cf8", "#fde047")


def png_uri(content: bytes) -> str:
    """A PNG's bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def file_uri(path: str | Path) -> str:
    """A picture file as a data URI.

    Raises:
        InputError: the file is missing or no picture.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            return _image_uri(image.convert("RGB") if image.mode not in ("L", "RGB") else image)
    except (FileNotFoundError, UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: expected a picture, cannot open it ({type(error).__name__})") from error


def _image_uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return png_uri(stream.getvalue())


def slices_uri(rows: Sequence[np.ndarray], columns: int = 10, zoom: int | None = None) -> str:
    """A sheet of slices, a line for each of ``rows``.

    Args:
        rows: slices ``(N, H, W)`` or ``(N, 1, H, W)`` in [-1, 1], or of other ranges (then scaled by the row's
            0.5th and 99.5th percentiles); at most ``columns`` of each, evenly spaced.
        columns: slices in a line.
        zoom: pixels of the sheet for one of a slice; by default so many that a slice has at least 96.
    """
    lines = []
    for row in rows:
        slices = np.asarray(row, dtype=np.float32)
        slices = slices.reshape(-1, *slices.shape[-2:])
        chosen = slices[np.linspace(0, len(slices) - 1, min(columns, len(slices))).round().astype(int)]
        scale = zoom or max(1, -(-96 // chosen.shape[1]))
        lines.append(np.concatenate([_enlarged(_bytes(part, chosen), scale) for part in chosen], axis=1))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 3), (0, width - line.shape[1]))) for line in lines]
    return _image_uri(Image.fromarray(np.concatenate(lines)[:-3]))


def _bytes(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    low, high = (-1.0, 1.0)
    if whole.min() < -1.001 or whole.max() > 1.001:
        low, high = np.percentile(whole, (0.5, 99.5))
    return (np.clip((part - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def _enlarged(pixels: np.ndarray, scale: int) -> np.ndarray:
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    return np.pad(
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)), ((0, 0), (0, 3))
    )


def read_slices(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, each a line of slices ``(N, H, W)`` or ``(N, 1, H, W)``, by name.

    Raises:
        InputError: the file is missing, no ``.npz``, or an array has another shape.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            rows = {name: content[name] for name in content.files}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: expected slices in an .npz file, cannot read it ({error})") from error
    for name, row in rows.items():
        if row.ndim not in (3, 4) or not row.size:
            raise InputError(f"{path}: expected '{name}' as (N, H, W) or (N, 1, H, W), found {row.shape}")
    return rows


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
    figure = Figure(figsize=(cell * count, len(lines) * (cell * aspect * height / width + title)), dpi=110)
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
        line[0].set_title(method, loc="left", fontsize=9.5, color=NEUTRAL, pad=4)
    figure.subplots_adjust(
        left=0, right=1, bottom=0, top=1 - (title - 0.02) / figure.get_figheight(), wspace=0.02, hspace=0.12
    )
    return figure_uri(figure)


def outline(axis, mask: np.ndarray, colour: str, width: float) -> None:
    """Draw the border of a mask, if it has one and is no single line of pixels."""
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axis.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=width)


def figure_uri(figure: Figure) -> str:
    """A figure as a PNG without background, to stand on light and dark pages."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(
        stream, format="png", transparent=True
    )  # optimised it is 2 % smaller and takes thrice as long
    return png_uri(stream.getvalue())
