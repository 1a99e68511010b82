"""The files of a federation's statistics: JSON, CSV, a picture, and report.html, which shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared_components.data.dataset_json import SPLITS
from shared_components.errors import printable
from shared_components.federation.statistics.merged import (
    ALL,
    COLUMNS,
    LABELLED,
    WITHHELD,
    Line,
    cells,
    classes_of,
    merged,
    remarks,
    rows,
)
from shared_components.federation.statistics.published import STATES, class_name
from shared_components.federation.statistics.site import Asked
from shared_components.files import make_folder, write_atomically
from shared_components.metrics.score_files import literal
from shared_components.records import read_record, write_record, write_table
from shared_components.report.pages import Picture, file_uri, write_page
from shared_components.report.run_sections import run_files

RECORD, TABLE, PICTURE = "statistics.json", "statistics.csv", "statistics.png"
FILES = {
    RECORD: "what every site published",
    TABLE: "the same, a number a row",
    PICTURE: "the picture above",
}
COLOURS = ("#0d9488", "#d97706", "#7c6fd6", "#dc5478", "#3b82c4", "#6f9a34")
SOFT = "#9aa5b1"
BESIDE = 4  # classes on a line of panels; further ones go below
HEIGHT = 0.34  # inches of a site


def write_statistics(
    folder: str | Path, name: str, asked: Asked, sites: Mapping[str, Mapping[str, Any]]
) -> list[Path]:
    """Write what the sites of the federation ``name`` published, and all of them together.

    Raises:
        InputError: a file cannot be written.
    """
    folder, lines = make_folder(folder), merged(sites)
    content = {"name": name, "looked_up": list(asked.reading.looked_up), "sites": dict(sites)}
    return [
        write_record(folder / RECORD, content),
        write_table(folder / TABLE, COLUMNS, rows(lines)),
        _save_plot(lines, folder / PICTURE),
    ]


def read_statistics(folder: str | Path) -> tuple[dict[str, Any], list[Line]]:
    """What :func:`write_statistics` wrote: ``name`` and ``looked_up``, and the lines.

    Raises:
        InputError: the file is missing or damaged.
    """
    content = read_record(Path(folder) / RECORD, "run federate.py stats again")
    return content, merged(content["sites"])


def write_statistics_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the page of a federation's statistics.

    Args:
        run_dir: the folder that ``federate.py stats`` wrote.
        output: the page; by default ``<run_dir>/report.html``.
    Raises:
        InputError: a file of the folder is missing or damaged.
    """
    folder = Path(run_dir)
    output = Path(output or folder / "report.html")
    content, lines = read_statistics(folder)
    heads, rows = cells(lines, content["looked_up"])
    return write_page(
        output,
        "statistics.html",
        str(content["name"]),
        "What the clients have, as each of them counted it; no image has left its place",
        _facts(lines),
        heads=heads,
        rows=rows,
        remarks=list(remarks(lines)),
        picture=Picture(
            file_uri(folder / PICTURE), "Volumes, intensities and label volumes of every client."
        ),
        files=run_files(folder, FILES, output),
    )


def _facts(lines: Sequence[Line]) -> list[tuple[object, str]]:
    clients = {line.client for line in lines if line.client != ALL}
    everything = next((line for line in lines if line.client == ALL), None)
    if everything is None:
        return [(len(clients), "clients")]
    counts = [(str(everything.count(split, *STATES)), f"{split} volumes") for split in SPLITS]
    return [(len(clients), "clients"), *counts]


def _statistics_figure(lines: Sequence[Line]) -> Figure:
    """Volumes, scaled intensities and label volumes of each line but the failed ones.

    Args:
        lines: of :func:`merged`.
    """
    shown = [line for line in lines if line.failure is None]
    classes = classes_of(shown)
    beside = min(BESIDE, max(2, len(classes)))
    below = -(-len(classes) // beside)
    height = (HEIGHT * len(shown) + 0.9) * (1 + below)
    figure = Figure(figsize=(10.5, height), dpi=110, layout="constrained")
    grid = figure.add_gridspec(1 + below, beside)
    volumes = figure.add_subplot(grid[0, 0])
    _named(volumes, shown, "volumes")
    _volumes(volumes, shown)
    intensities = figure.add_subplot(grid[0, 1:], sharey=volumes)
    _intensities(intensities, shown)
    for number, name in enumerate(classes):
        place = grid[1 + number // beside, number % beside]
        axis = figure.add_subplot(place, sharey=volumes)
        axis.tick_params(labelleft=number % beside == 0)
        _label_volumes(axis, shown, name, COLOURS[number % len(COLOURS)])
    return figure


def _save_plot(lines: Sequence[Line], path: str | Path) -> Path:
    """Write :func:`_statistics_figure` as a PNG.

    Raises:
        InputError: the file cannot be written.
    """
    figure = _statistics_figure(lines)
    FigureCanvasAgg(figure)
    return write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _named(axis: Axes, lines: Sequence[Line], title: str) -> None:
    names = [
        literal(printable(f"{line.client} ({line.domain})" if line.domain else line.client, 28))
        for line in lines
    ]
    axis.set_yticks(range(len(lines)), names)
    axis.set_ylim(len(lines) - 0.5, -0.6)
    _plain(axis, title)


def _name(line: Line) -> str:
    return line.client if line.domain in ("", line.client) else f"{line.client} ({line.domain})"


def _volumes(axis: Axes, lines: Sequence[Line]) -> None:
    """Bars of each site's volumes, those with labels in full colour; of all sites together as a number alone."""
    places = [place for place, line in enumerate(lines) if line.client != ALL]
    counts = {
        kind: [sum(lines[place].count(split, *states).told for split in SPLITS) for place in places]
        for kind, states in (("with labels", LABELLED), ("without", STATES[2:]))
    }
    axis.barh(places, counts["with labels"], 0.62, color=COLOURS[0], label="with labels")
    axis.barh(places, counts["without"], 0.62, counts["with labels"], color=SOFT, label="without")
    for place, line in enumerate(lines):
        total = sum((line.count(split, *STATES) for split in SPLITS[1:]), line.count(SPLITS[0], *STATES))
        at = 0 if line.client == ALL else total.told
        axis.annotate(str(total), (at, place), (3, 0), textcoords="offset points", fontsize=7, va="center")
    axis.margins(x=0.25)
    axis.legend(
        fontsize=6.5, frameon=False, loc="lower right", bbox_to_anchor=(1.02, 1.0), ncols=2, borderpad=0
    )


def _intensities(axis: Axes, lines: Sequence[Line]) -> None:
    """The histogram of each line above its own base, each on a scale of its own."""
    _plain(axis, "intensity as the networks see it: share of the voxels (square roots)")
    axis.tick_params(labelleft=False)
    for place, line in enumerate(lines):
        if not any(line.shares):
            axis.text(0, place, WITHHELD, fontsize=7, color=SOFT, ha="center", va="center")
            continue
        heights = _heights(line)
        edges = np.linspace(-1, 1, len(heights) + 1)
        colour = SOFT if line.client == ALL else COLOURS[place % len(COLOURS)]
        axis.stairs(place + 0.4 - heights, edges, baseline=place + 0.4, fill=True, color=colour, alpha=0.55)
    axis.set_xlim(-1, 1)


def _heights(line: Line) -> np.ndarray:
    """Shares as heights, the largest 0.85 of a line; of square roots, since most voxels may be air."""
    shares = np.asarray([np.nan if share is None else share for share in line.shares], float)
    return 0.85 * np.sqrt(shares / np.nanmax(shares))


def _label_volumes(axis: Axes, lines: Sequence[Line], name: str, colour: str) -> None:
    """Mean and standard deviation of a class's volume at each site that tells it."""
    _plain(axis, f"{printable(name, 24)}, ml")
    for place, line in enumerate(lines):
        found = line.measures.get(class_name(name))
        if found is not None:
            shade = SOFT if line.client == ALL else colour
            axis.errorbar(
                found.mean, place, xerr=found.sd, fmt="o", markersize=4, color=shade, capsize=2, lw=1.2
            )
    axis.set_xlim(left=0)


def _plain(axis: Axes, title: str) -> None:
    axis.set_title(literal(title), fontsize=8.5, loc="left")
    axis.tick_params(labelsize=7, length=0)
    axis.grid(True, axis="x", alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
