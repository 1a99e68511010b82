"""Small files of our own that are read again, JSON, YAML and CSV: written whole and sealed, read in one way.

A sealed file that is damaged is refused in one line. Who edits one on purpose removes its seal: the key ``sha256`` of
JSON, the last line of YAML, the column ``check`` of a table; readers that need the seal say so. Tables are such that a
spreadsheet shows them as they are: no cell is taken for a formula.

A frozen dataclass may say what a record holds: its fields may be texts, numbers, paths, tuples, mappings, other such
classes and ``None``. A field that has its default is left out of the plain values. Paths are plain as texts, relative
to the record's folder where they lie in it, so that the folder can be moved.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from shared_components.errors import InputError, shown
from shared_components.files import write_text
from shared_components.limits import MOST_VALUES, unfolded_fault
from shared_components.seals import BLANK, CHECK, has_sealed_rows, is_sealed, seal, seal_rows

SEAL = "sha256"
# a spreadsheet runs a cell that begins so, after the quotes that we put there
FORMULA = re.compile(r"'*[=+\-@\t\r]")
QUOTED = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)
# libyaml's, where PyYAML was built with it: eight times as fast as their namesakes
LOADER, DUMPER = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Typed = TypeVar("Typed")
KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


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


def as_record(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON file of :func:`write_record` gives back of ``content``: keys as texts, tuples as lists."""
    return json.loads(json.dumps(dict(content), default=str))


def as_yaml_record(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a YAML file of :func:`write_record` gives back of ``content``: tuples as lists."""
    return yaml.load(yaml.dump(dict(content), Dumper=DUMPER), LOADER)


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
        content = _yaml_values(text) if path.suffix == ".yaml" else json.loads(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())[:200]}); {cure}") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: is damaged: expected names and values, found {type(content).__name__}; {cure}"
        )
    return {key: value for key, value in content.items() if key != SEAL}


class _Plain(LOADER):  # type: ignore[misc, valid-type]
    """Without ``<<``, which no record has, and by which a few lines copy one table a million million times."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.MarkedYAMLError(problem="tables are merged by <<", problem_mark=node.start_mark)


def _yaml_values(text: str) -> Any:
    """Values of a record: aliases, which are written where one list stands twice, unfold to little more than it has."""
    values = yaml.load(text, _Plain)
    fault = unfolded_fault(values, MOST_VALUES + len(text))
    if fault:
        raise ValueError(fault)
    return values


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


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], head: bool = True) -> str:
    """Rows as CSV; a cell that a row lacks is empty.

    A text that begins with ``=``, ``+``, ``-`` or ``@`` gets a quote before it (so does one that begins with quotes
    and one of these, so that reading can take one off again); numbers stay numbers.

    Args:
        columns: their names, in order.
        rows: column to cell.
        head: begin with a line of the columns' names.
    Raises:
        ValueError: a row has a column that is not among ``columns``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if head:
        writer.writerow({name: _quoted(name) for name in columns})
    writer.writerows({name: _quoted(str(cell)) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def table_rows(text: str) -> list[dict[str, str]]:
    """The rows of :func:`table_text`, with the texts that were written."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if reader.fieldnames is not None:
        reader.fieldnames = [_bare(name) for name in reader.fieldnames]
    return [
        {name: _bare(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in reader
    ]


def _quoted(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def _bare(cell: str) -> str:
    return cell[1:] if QUOTED.match(cell) else cell


def plain_values(value: Any, folder: Path) -> Any:
    """What JSON and YAML can hold.

    Args:
        value: a dataclass or what a field of one may be.
        folder: to which paths are relative.
    """
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        told = {field.name for field in fields(value) if held[field.name] != _default(field)}
        return {name: plain_values(one, folder) for name, one in held.items() if name in told}
    if isinstance(value, Mapping):
        return {str(key): plain_values(one, folder) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain_values(one, folder) for one in value]
    if isinstance(value, Path):
        return (value.relative_to(folder) if value.is_relative_to(folder) else value).as_posix()
    return value


def typed_values(kind: type[Typed], values: Mapping[str, Any], folder: Path, where: str) -> Typed:
    """A dataclass of plain values; keys that no field has are ignored.

    Args:
        kind: the class.
        values: as :func:`plain_values` makes them.
        folder: to which paths are relative.
        where: what a complaint begins with.
    Raises:
        InputError: a value is missing or of another kind.
    """
    return _typed(kind, values, folder, where)


def _typed(kind: Any, values: Any, folder: Path, where: str) -> Any:
    """Of plain values what a field of such a kind holds."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(inner, values, folder, where)
    if is_dataclass(kind):
        return _instance(kind, _checked(dict, values, "names and values", where), folder, where)
    if origin is Mapping:
        pairs = _checked(dict, values, "names and values", where).items()
        return {_key(inner[0], key, where): _at(inner[1], one, folder, where, key) for key, one in pairs}
    if origin is tuple:
        listed = _checked(list, values, "a list", where)
        return tuple(_at(inner[0], one, folder, where, number) for number, one in enumerate(listed, 1))
    return _value(kind, values, folder, where)


def _instance(kind: Any, values: Mapping[str, Any], folder: Path, where: str) -> Any:
    hints, found = typing.get_type_hints(kind), {}
    for field in fields(kind):
        if field.name in values:
            found[field.name] = _at(hints[field.name], values[field.name], folder, where, field.name)
        elif _default(field) is MISSING:
            raise InputError(f"{where}: expected '{field.name}', found none")
    return kind(**found)


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _one_of(kinds: tuple[Any, ...], values: Any, folder: Path, where: str) -> Any:
    """A value of the first kind that it fits."""
    if values is None and type(None) in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not type(None))
    for kind in others:
        try:
            return _typed(kind, values, folder, where)
        except InputError:  # the next kind may fit
            continue
    return _typed(last, values, folder, where)


def _at(kind: Any, value: Any, folder: Path, where: str, key: object) -> Any:
    return _typed(kind, value, folder, f"{where}: {key}")


def _key(kind: Any, key: str, where: str) -> Any:
    if kind is int and not key.removeprefix("-").isdecimal():
        raise InputError(f"{where}: expected whole numbers as names, found {shown(key)}")
    return kind(key)


def _checked(kind: Any, value: Any, words: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{where}: expected {words}, found {shown(value)}")
    return value


def _value(kind: Any, value: Any, folder: Path, where: str) -> Any:
    plain: Any = {Path: str, float: (int, float)}.get(kind, kind)
    _checked(plain, value, KINDS[kind], where)
    if isinstance(value, bool) and kind is not bool:
        raise InputError(f"{where}: expected {KINDS[kind]}, found {shown(value)}")
    return folder / value if kind is Path else kind(value)
