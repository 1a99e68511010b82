"""Pages out of the templates beside this file: each one file that fetches nothing, with all text escaped.

Python computes what is shown, as plain values and the few kinds below; ``templates/`` says how it looks: a page of its
own extends ``base.html``, ``macros.html`` has what several are made of.
"""

from __future__ import annotations

import base64
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from shared_components.errors import InputError
from shared_components.files import write_text

TEMPLATES = Path(__file__).parent / "templates"


class Picture(NamedTuple):
    """A picture with its caption.

    Attributes:
        uri: ``data:image/png;base64,…``.
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
    return write_text(output, made.render(title=title, subtitle=subtitle, facts=facts, **content) + "\n")


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
    return quote(Path(os.path.relpath(path, Path(page).parent)).as_posix())


def told(text: object, folder: str | Path) -> str:
    """A message or path without the folder's own place, which means nothing where the page is read."""
    return str(text).replace(f"{folder}{os.sep}", "")


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
