"""Curves of tables, as a PNG inside a data URI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shared_components.errors import InputError
from shared_components.metrics.score_files import literal
from shared_components.records import read_table
from shared_components.report.pages import NEUTRAL, OUTLINES, figure_uri

SERIES = ("#0d9488", "#d97706", "#7c6fd6", "#dc5478", "#3b82c4", "#6f9a34")
STEPS = ("round", "epoch", "update")
NOT_CURVES = {
    *STEPS,
    *("client", "images", "seconds", "bytes_up", "bytes_down", "bytes", "left_out", "released", "epsilon"),
}
FEW = 20  # points up to which each has a dot
STYLES = ("-", "--", ":", "-.")  # the next once all colours are used
MANY = len(SERIES) * len(STYLES)  # clients beyond which no eye tells lines apart
WIDTH = 10.0  # inch
LARGEST = 1e100  # of what is drawn
MOST_PANELS = 48  # a picture of WebP has at most 16383 pixels, and drawing more takes long

Points = list[tuple[float, float]]


def curve_names(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Columns of a table that hold numbers worth a curve."""
    names = dict.fromkeys(name for row in rows for name in row if name not in NOT_CURVES)
    return [name for name in names if any(number(row.get(name)) is not None for row in rows)]


def curves_uri(path: str | Path, names: Sequence[str] | None = None) -> str:
    """Curves of a CSV: one panel for each column of numbers, one line for each client.

    The first column of ``round``, ``epoch``, ``update`` runs to the right; a column ``client`` tells lines apart. Of
    very many clients the mean and the range are drawn, of very many columns the first, and how many more there are is
    told.

    Args:
        path: the CSV.
        names: columns to show; by default all of numbers.
    Raises:
        InputError: no such file, or it has no column of numbers.
    """
    rows = read_csv(path)
    step = next((name for name in STEPS if name in rows[0]), None)
    found = [name for name in curve_names(rows) if names is None or name in names]
    names, more = found[:MOST_PANELS], len(found[MOST_PANELS:])
    if not names or step is None:
        raise InputError(
            f"{path}: expected one of {', '.join(STEPS)} and columns of numbers, found {list(rows[0])}"
        )
    clients: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        clients.setdefault(row.get("client", ""), []).append(row)
    columns = min(4, max(2, len(names)))
    lines = -(-len(names) // columns)
    titles = ["least to most", f"mean of {len(clients)} clients"] if len(clients) > MANY else list(clients)
    beside, height = _legend_size(titles)
    figure = Figure(figsize=(WIDTH, 2.1 * lines + height), dpi=130, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        points = {
            client: _points([(number(row[step]), number(row.get(name))) for row in own])
            for client, own in clients.items()
        }
        if len(clients) > MANY:
            _draw_spread(axis, points, titles)
        else:
            _draw_lines(axis, points)
        plain(axis, name)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    if height:
        _draw_legend(figure, beside)
    figure.supxlabel(
        f"{step}; {more} more columns are in the table alone" if more else step, fontsize=8, color=NEUTRAL
    )
    return figure_uri(figure)


def _points(pairs: Iterable[tuple[float | None, float | None]]) -> Points:
    """Those with a number on either axis."""
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _legend_size(titles: Sequence[str]) -> tuple[int, float]:
    """How many names stand beside each other, and the height of all, inch; 0 for a single one."""
    width = 0.5 + 0.065 * max(map(len, titles))  # of a name with its line, at 8 points
    beside = max(1, min(6, int(WIDTH / width)))
    return beside, 0.1 + 0.17 * -(-len(titles) // beside) if len(titles) > 1 else 0.0


def _draw_legend(figure: Figure, beside: int) -> None:
    """The names of all panels: a line may have no point in the first."""
    found: dict[Any, Any] = {}  # title -> handle
    for axis in figure.axes:
        for handle, title in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(title, handle)
    place = {"loc": "outside upper left", "ncols": beside, "frameon": False}
    figure.legend(found.values(), found.keys(), fontsize=8, labelcolor=NEUTRAL, **place)


def _draw_lines(axis: Axes, points: Mapping[str, Points]) -> None:
    for place, (client, own) in enumerate(points.items()):
        colour, style = SERIES[place % len(SERIES)], STYLES[place // len(SERIES)]
        if own:
            marker = "o" if len(own) <= FEW else None
            axis.plot(
                *zip(*own, strict=True), color=colour, linestyle=style, linewidth=1.3, marker=marker,
                markersize=2.5, label=literal(client),
            )  # fmt: skip


def _draw_spread(axis: Axes, points: Mapping[str, Points], titles: Sequence[str]) -> None:
    """The range over clients and their mean, of these two titles."""
    values: dict[float, list[float]] = {}
    for x, y in (point for own in points.values() for point in own):
        values.setdefault(x, []).append(y)
    steps = sorted(values)
    low, high, mean = ([of(values[x]) for x in steps] for of in (min, max, np.mean))
    axis.fill_between(steps, low, high, color=SERIES[0], alpha=0.25, linewidth=0, label=titles[0])
    axis.plot(steps, mean, color=SERIES[0], linewidth=1.5, label=titles[1])


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
        axis.plot(
            millilitres[:, place], color=colour, linewidth=1.8, marker="o", markersize=3, label=literal(name)
        )
    axis.set_ylim(bottom=0)
    axis.set_xlabel("frame", fontsize=8, color=NEUTRAL)
    plain(axis, "volume, ml")
    return figure_uri(figure)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV.

    Raises:
        InputError: no such file, it is damaged, or no row in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a table, found no file")
    rows = read_table(path, "let the run that wrote it write it again, or remove it")
    if not rows:
        raise InputError(f"{path}: expected rows, found none")
    return rows


def number(text: str | None) -> float | None:
    """A cell of a table as a number; ``None`` for one that holds none, or one that no axis can show."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None  # not NaN either


def plain(axis: Axes, title: str) -> None:
    """Set a panel's title, grid and axes for light and dark pages."""
    axis.set_title(literal(title.replace("_", " ")), fontsize=8.5, color=NEUTRAL, loc="left")
    axis.tick_params(labelsize=7, colors=NEUTRAL, length=2)
    axis.grid(True, color=NEUTRAL, alpha=0.2, linewidth=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_facecolor("none")
    for name, spine in axis.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(NEUTRAL)
        spine.set_alpha(0.5)
