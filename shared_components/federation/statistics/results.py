"""The files of a federation's statistics: JSON, CSV and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_components.federation.statistics.merged import Line, merged
from shared_components.federation.statistics.plot import save_plot
from shared_components.federation.statistics.site import Asked
from shared_components.federation.statistics.table import COLUMNS, rows
from shared_components.files import make_folder
from shared_components.records import read_record, write_record, write_table

RECORD, TABLE, PICTURE = "statistics.json", "statistics.csv", "statistics.png"


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
        save_plot(lines, folder / PICTURE),
    ]


def read_statistics(folder: str | Path) -> tuple[dict[str, Any], list[Line]]:
    """What :func:`write_statistics` wrote: ``name`` and ``looked_up``, and the lines.

    Raises:
        InputError: the file is missing or damaged.
    """
    content = read_record(Path(folder) / RECORD, "run federate.py stats again")
    return content, merged(content["sites"])
