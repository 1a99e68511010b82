"""A small vocabulary for HTML pages: everything that is not markup already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from shared_components.report.style import STYLE


class Html(str):
    """Text that is markup already; other text is escaped by :func:`element`."""

    __slots__ = ()


def escape(content: object) -> Html:
    """``content`` as markup: as it is when :class:`Html`, else with ``< > & "`` escaped."""
    return content if isinstance(content, Html) else Html(html.escape(str(content)))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """``<tag attributes>children</tag>``; an attribute ``class_`` is written ``class``, ``None`` is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{written}>{join(children)}</{tag}>")


def join(parts: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("".join(escape(part) for part in parts))


def table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    numeric_from: int = 1,
    groups: Sequence[tuple[object, int]] | None = None,
    class_: str | None = None,
    style: str | None = None,
) -> Html:
    """A table whose columns from ``numeric_from`` on are set to the right.

    Args:
        head: titles of the columns.
        rows: cells; a cell that is :class:`Html` and begins with ``<td`` stands as it is.
        numeric_from: first column with numbers.
        groups: (title, columns) of a line above ``head``.
        class_: a class of the style sheet.
        style: of the table itself.
    """

    def side(index: int) -> str | None:
        return "number" if index >= numeric_from else None

    titles = [element("th", title, class_=side(index), scope="col") for index, title in enumerate(head)]
    lines = [element("tr", *(_cell(cell, side(index)) for index, cell in enumerate(row))) for row in rows]
    above = [] if groups is None else [element("tr", *(_group(name, width) for name, width in groups))]
    content = element("thead", *above, element("tr", *titles)), element("tbody", *lines)
    body = element("table", *content, class_=class_, style=style)
    return element("div", body, class_="scroll")


def _group(name: object, width: int) -> Html:
    return element("th", name, colspan=width, class_="group", scope="colgroup")


def _cell(cell: object, side: str | None) -> Html:
    return cell if isinstance(cell, Html) and cell.startswith("<td") else element("td", cell, class_=side)


def picture(uri: str, caption: object = "", kind: str = "wide", alternative: str = "") -> Html:
    """A picture (data URI) with its caption.

    Args:
        uri: ``data:image/png;base64,…``.
        caption: what it shows; none without text.
        kind: a class of the style sheet: ``wide``, ``sheet`` (at its own size), or ``slices`` (the caption beside a
            line of slices).
        alternative: text in place of the picture; by default the caption, unless that is markup.
    """
    text = alternative or ("" if isinstance(caption, Html) else str(caption))
    image = Html(f'<img src="{html.escape(uri)}" alt="{html.escape(text)}">')
    above = [element("figcaption", caption)] if caption else []
    return element("figure", *above, image, class_=kind)


def missing(text: object) -> Html:
    """A remark that a part of the report has nothing to show, and why."""
    return element("p", text, class_="missing")


def section(title: str, *children: object, note: object | None = None) -> Html:
    """A titled part of the page, with a sentence under the title."""
    lead = [element("p", note, class_="note")] if note else []
    return element("section", element("h2", title), *lead, *children)


def page(
    title: str, subtitle: object, facts: Sequence[tuple[object, object]], sections: Iterable[Html]
) -> str:
    """A whole page that needs no other file.

    Args:
        title: heading and window title.
        subtitle: a line under it.
        facts: (value, what it is), shown as tiles under the heading.
        sections: what :func:`section` returned.
    """
    tiles = [element("div", element("b", value), element("span", name)) for value, name in facts]
    header = element(
        "header",
        element("h1", title),
        element("p", subtitle, class_="note"),
        element("div", *tiles, class_="tiles") if tiles else "",
    )
    head = join(
        [
            Html(
                '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            ),
            element("title", title),
            element("style", Html(STYLE)),
        ]
    )
    body = element("main", header, *sections)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'
