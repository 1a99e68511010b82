"""Pictures for a page: files, slices and outlines of segmentations, each a PNG inside a data URI."""

from __future__ import annotations

import base64
import io
from pathlib import Path

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


def figure_uri(figure: Figure) -> str:
    """A figure as a PNG without background, to stand on light and dark pages."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(
        stream, format="png", transparent=True
    )  # optimised it is 2 % smaller and takes thrice as long
    return png_uri(stream.getvalue())
