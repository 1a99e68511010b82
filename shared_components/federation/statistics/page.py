"""``report.html`` of a federation's statistics: what its clients have, told without an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared_components.data.description import SPLITS
from shared_components.federation.statistics.merged import ALL, Line
from shared_components.federation.statistics.results import PICTURE, RECORD, TABLE, read_statistics
from shared_components.federation.statistics.table import cells, remarks
from shared_components.federation.statistics.volume_numbers import STATES
from shared_components.report.figures import file_uri
from shared_components.report.pages import Picture, write_page
from shared_components.report.run_sections import run_files

FILES = {
    RECORD: "what every site published",
    TABLE: "the same, a number a row",
    PICTURE: "the picture above",
}


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
