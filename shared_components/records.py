"""Small files of our own that are read again, JSON, YAML and CSV: written whole and sealed, read in one way.

A sealed file that is damaged is refused in one line. Who edits one on purpose removes its seal: the key ``sha256`` of
JSON, the last line of YAML, the column ``check`` of a table; readers that need the seal say so.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from shared_components.csv_tables import table_rows, table_text
from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.seals import BLANK, CHECK, has_sealed_rows, is_sealed, seal, seal_rows

SEAL = "sha256"


def write_record(path: str | os.PathLike, content: Mapping[str, Any]) -> Path:
    """Write ``content`` with a checksum: as JSON, or as YAML where the name ends with ``.yaml``.

    A value that JSON has no form for is written as text.

    Raises:
        InputError: the file cannot be written.
    """
    if Path(path).suffix == ".yaml":
        text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
        return write_text(path, seal(f"{text}# {SEAL}: {BLANK}\n"))
    text = json.dumps({**content, SEAL: BLANK}, indent=1, ensure_ascii=False, default=str)
    return write_text(path, seal(f"{text}\n"))


def read_record(path: str | os.PathLike, cure: str, sealed: bool = False) -> dict[str, Any]:
    """Read what :func:`write_record` wrote.

    Args:
        path: the file; JSON or YAML by its name.
        cure: what to do about a damaged one, in words that follow a semicolon.
        sealed: a file without a checksum is refused.
    Raises:
        InputError: the file is missing, damaged, or holds no names and values.
    """
    path = Path(path)
    text = read_text(path, cure)
    fits = is_sealed(text)
    if fits is False or (sealed and fits is None):
        kind = "another" if fits is False else "none"
        raise InputError(f"{path}: is damaged or was edited: expected its own checksum, found {kind}; {cure}")
    try:
        content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())[:200]}); {cure}") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: is damaged: expected names and values, found {type(content).__name__}; {cure}"
        )
    return {key: value for key, value in content.items() if key != SEAL}


def found_record(path: str | os.PathLike) -> dict[str, Any] | None:
    """What :func:`write_record` wrote, or None where the file is missing, damaged or without its checksum."""
    try:
        return read_record(path, "", sealed=True)
    except InputError:
        return None


def write_table(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> Path:
    """Write a CSV with a last column of checksums; a row may lack columns.

    Raises:
        InputError: the file cannot be written.
    """
    lines = (table_text(columns, [row], head=False) for row in rows)
    return write_text(path, seal_rows(table_text(columns, []), lines))


def read_table(path: str | os.PathLike, cure: str) -> list[dict[str, str]]:
    """Rows of a CSV, of our own or of others', without its checksums.

    Args:
        path: the file.
        cure: what to do about a damaged one, in words that follow a semicolon.
    Raises:
        InputError: the file is missing or damaged.
    """
    path = Path(path)
    text = read_text(path, cure)
    if has_sealed_rows(text) is False:
        raise InputError(f"{path}: is damaged or was edited: its rows do not fit their checksums; {cure}")
    try:
        rows = table_rows(text)
    except csv.Error as error:
        raise InputError(f"{path}: is damaged ({error}); {cure}") from error
    return [{name: value for name, value in row.items() if name != CHECK} for row in rows]


def read_text(path: Path, cure: str) -> str:
    """The text of a file as it is, line ends included.

    Raises:
        InputError: the file is missing or no UTF-8 text.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = "no file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None)
        raise InputError(f"{path}: expected a text file, found {reason or 'other bytes'}; {cure}") from error
