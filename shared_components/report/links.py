"""Links from a page to files that lie beside it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from shared_components.report.html import Html, element


def file_link(path: str | Path, page: str | Path, text: object | None = None) -> Html:
    """A link to a file or folder, relative to the page, so that both can be moved together.

    Args:
        path: where it leads; nothing there gives the text alone.
        page: the HTML file that will hold the link.
        text: what to show; by default the name.
    """
    shown = Path(path).name if text is None else text
    if not Path(path).exists():
        return element("span", shown)
    return element("a", shown, href=address(path, page))


def address(path: str | Path, page: str | Path) -> str:
    """The address of a file as the page must write it."""
    return quote(Path(os.path.relpath(path, Path(page).parent)).as_posix())
