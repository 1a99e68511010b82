"""Files that list volumes: text with one path a line, or JSON."""

from __future__ import annotations

import json
from pathlib import Path

from shared_components.data.reading import one_line
from shared_components.errors import InputError

SUFFIXES = (".txt", ".lst", ".list", ".json")


def is_list(path: str | Path) -> bool:
    """Whether a file's name is that of a list."""
    return Path(path).suffix.lower() in SUFFIXES


def read_list(file: str | Path) -> list[str | dict]:
    """The entries of a list file.

    Args:
        file: text with one path a line (blank lines and those that begin with ``#`` do not count), or a JSON list
            of paths or of ``{"image": path}`` with, if wanted, ``"label"`` and ``"case"``.
    Returns:
        The entries; paths relative to the file's folder are made absolute.
    Raises:
        InputError: unreadable, or not such a list.
    """
    file = Path(file).absolute()
    try:
        text = file.read_text(encoding="utf-8-sig")
        entries = json.loads(text) if file.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: expected a list of volumes, could not read it ({one_line(error)}); write one path a line "
            "into a .txt, or a JSON list of paths into a .json"
        ) from error
    if not isinstance(entries, list) or not all(isinstance(entry, str | dict) for entry in entries):
        raise InputError(
            f'{file}: expected a list of paths or of {{"image": path}}, found something else; name a client data '
            "root by its folder"
        )
    return [_placed(file.parent, entry) for entry in entries]


def _lines(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _placed(folder: Path, entry: str | dict) -> str | dict:
    if isinstance(entry, str):
        return str(folder / Path(entry).expanduser())
    paths = {key: _placed(folder, str(entry[key])) for key in ("image", "label") if entry.get(key)}
    return entry | paths
