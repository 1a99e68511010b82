"""Pages out of the templates beside this file: each one file that fetches nothing, with all text escaped.

Python computes what is shown, as plain values and the few kinds below; ``templates/`` says how it looks: a page of its
own extends ``base.html``, ``macros.html`` has what several are made of.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from shared_components.errors import InputError, failure_line, printable
from shared_components.files import lies_in, write_text

UNSHOWN = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, OSError)
"""What damaged data raise, an InputError among them: a part of a page that meets one is told as missing."""
TEMPLATES = Path(__file__).parent / "templates"
WEBP, SVG = "data:image/webp;base64,", "data:image/svg+xml,"
QUALITY = 90  # of slices: a fifth of what they take without loss, and nothing of it to be seen
GREY = 8  # levels by which the channels of a grey pixel may differ
NEUTRAL = "#7f8b99"  # reads on white and on black
REFERENCE = "#22d3ee"
OUTLINES = ("#f59e0b", "#e879f9", "#a3e635", "#fb7185", "#818cf8", "#fde047")


class Picture(NamedTuple):
    """A picture with its caption.

    Attributes:
        uri: ``data:image/…``.
        caption: what it shows; none without text.
        kind: a class of the style sheet: ``wide``, ``sheet`` (at its own size), or ``slices`` (the caption beside a
            line of slices).
        alternative: text in place of the picture; by default the caption.
    """

    uri: str
    caption: str = ""
    kind: str = "wide"
    alternative: str = ""


class Missing(NamedTuple):
    """That a part of a page has nothing to show, and why."""

    remark: str


class Titled(NamedTuple):
    """Pictures and remarks under a title."""

    title: str
    parts: Sequence[Picture | Missing]


class Link(NamedTuple):
    """The address of a file as a page must write it, empty where nothing is there, and what to show."""

    text: str
    address: str


def write_page(
    output: Path,
    template: str,
    title: str,
    subtitle: str,
    facts: Sequence[tuple[object, str]],
    **content: Any,
) -> Path:
    """Write a page.

    Args:
        output: the HTML file.
        template: a file of ``templates``.
        title: heading and window title.
        subtitle: a line under it.
        facts: (value, what it is), shown as tiles under the heading.
        content: whatever the template shows.
    Raises:
        InputError: it cannot be written.
    """
    made = environment().get_template(template)
    text = made.render(title=title, subtitle=subtitle, facts=facts, **content)
    # names of files may be other bytes than UTF-8, and JSON lets halves of surrogate pairs through
    return write_text(output, text.encode(errors="backslashreplace").decode() + "\n")


@functools.cache
def environment() -> Environment:
    """What makes text of templates; anything that a template shows and nobody gave is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def file_link(path: str | Path, page: str | Path, text: object | None = None) -> Link:
    """A link to a file or folder, relative to the page, so that both can be moved together.

    Args:
        path: where it leads; nothing there gives the text alone.
        page: the HTML file that will hold the link.
        text: what to show; by default the name.
    """
    shown = Path(path).name if text is None else str(text)
    return Link(shown, address(path, page) if Path(path).exists() else "")


def address(path: str | Path, page: str | Path) -> str:
    """The address of a file as the page must write it."""
    return quote(os.fsencode(os.path.relpath(path, Path(page).parent)))


def told(text: object, folder: str | Path) -> str:
    """A message or path without the folder's own place, which means nothing where the page is read."""
    return str(text).replace(f"{folder}{os.sep}", "")


def within(folder: str | Path, path: Path) -> Path:
    """A file or folder that a record in ``folder`` names: the page shows none from elsewhere, whoever wrote the record.

    Raises:
        InputError: it lies outside the folder, links followed.
    """
    if not lies_in(path, folder):
        raise InputError(f"{path}: expected a place in the study's folder, found one outside; copy it there")
    return path


def unshown(error: Exception, folder: str | Path, what: object = "") -> Missing:
    """A remark in place of what damaged data made fail with one of :data:`UNSHOWN`.

    Args:
        error: which is its own remark if it is an InputError.
        folder: see :func:`told`.
        what: the file or section.
    """
    if isinstance(error, InputError):
        return Missing(told(error, folder))
    return Missing(
        printable(f"{told(what, folder)}: cannot be shown, its data are damaged ({failure_line(error)})")
    )


def file_uri(path: str | Path) -> str:
    """A picture file as a data URI; one of greys alone is taken for slices, any other for a plot.

    Raises:
        InputError: the file is missing or no picture.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            return _webp_uri(image, lossy=True) if image.mode == "L" else _webp_uri(image.convert("RGBA"))
    except (*UNSHOWN, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: expected a picture, cannot show it ({type(error).__name__})") from error


def figure_uri(figure: Figure) -> str:
    """A figure of lines and letters without background, to stand on light and dark pages; nothing of it is lost."""
    return _webp_uri(Image.fromarray(_drawn(figure)))


def slices_uri(figure: Figure) -> str:
    """A figure of grey slices under coloured lines: greys as of photographs, and over them all else without loss.

    Without loss it would take four times as much; as one photograph its thin lines would be pale, since of colours
    that keeps every other pixel.
    """
    drawn = _drawn(figure)
    opaque = drawn[..., 3] == 255
    grey = opaque & (np.ptp(drawn[..., :3].astype(int), axis=-1) < GREY)
    under = np.dstack([*[drawn[..., 1]] * 3, np.where(opaque, 255, 0)]).astype(np.uint8)
    over = np.where(grey[..., None], 0, drawn).astype(np.uint8)
    layers = _webp_uri(Image.fromarray(under), lossy=True), _webp_uri(Image.fromarray(over))
    width, height = drawn.shape[1::-1]
    images = "".join(f'<image width="{width}" height="{height}" href="{layer}"/>' for layer in layers)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return SVG + quote(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{images}</svg>', safe="/+=:;,")


def _drawn(figure: Figure) -> np.ndarray:
    """(H, W, RGBA) uint8 of a figure without background."""
    stream = io.BytesIO()
    width, height = FigureCanvasAgg(figure).get_width_height()
    figure.savefig(stream, format="rgba", transparent=True)
    return np.frombuffer(stream.getvalue(), np.uint8).reshape(height, width, 4)


def _webp_uri(image: Image.Image, lossy: bool = False) -> str:
    """A picture as the data URI of a WebP."""
    stream = io.BytesIO()
    # without loss the quality is an effort: 0.2 s
    kept = {"quality": QUALITY} if lossy else {"lossless": True, "quality": 30, "method": 2}
    image.save(stream, format="WEBP", **kept)
    return WEBP + base64.b64encode(stream.getvalue()).decode("ascii")
