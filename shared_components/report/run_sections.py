"""Sections that the reports of several kinds of runs have in common: settings and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.records import read_record
from shared_components.report.html import Html, element, missing, section, table
from shared_components.report.links import file_link
from shared_components.sizes import size


def settings_section(folder: Path, names: Sequence[str], without: Sequence[str] = ()) -> Html:
    """The settings in the first of some files of a folder.

    Args:
        folder: the run's.
        names: JSON or YAML files.
        without: settings that the page shows elsewhere.
    Raises:
        InputError: the file is damaged.
    """
    settings = read_settings(folder, names)
    if not settings:
        return section("Settings", missing(f"no settings: the run left no {' or '.join(names)}"))
    rows = [[name, element("code", _shown(value))] for name, value in settings.items() if name not in without]
    return section("Settings", table(["Setting", "Value"], rows, numeric_from=9))


def read_settings(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Ids and values of a run's settings; empty where it left none.

    Raises:
        InputError: the file is damaged.
    """
    for path in (folder / name for name in names):
        if path.is_file():
            return read_record(path, "remove the file")
    return {}


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def files_section(folder: Path, files: Mapping[str, str], page: Path) -> Html:
    """Links to those of some files and folders that are there.

    Args:
        folder: the run's.
        files: name to what it is.
        page: the HTML file.
    """
    rows = [
        [file_link(folder / name, page), what, _size(folder / name)]
        for name, what in files.items()
        if (folder / name).exists()
    ]
    return section("Files", table(["File", "What it is", "Size"], rows, numeric_from=2))


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return size(sum(file.stat().st_size for file in files))
