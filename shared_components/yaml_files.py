"""YAML and JSON that people write: read as plain values, within limits, and what is ambiguous is refused.

Also what a value of a config refers to.
"""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser, ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY, merge_kv

from shared_components.errors import InputError, shown
from shared_components.limits import DEEPEST, MOST_VALUES

LARGEST_FILE = 2**18  # bytes; PyYAML reads about as much in two seconds
_MERGE, _VALUE = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"
# what is raised by what a text can hold, such as dates and long numbers
MENDABLE = (
    yaml.YAMLError,
    ValueError,
    KeyError,
    RecursionError,
)


def read_yaml(path: str | os.PathLike, what: str = "YAML") -> Any:
    """Read a file of YAML (or JSON, by its name) as dicts, lists, texts, numbers, dates, booleans and null.

    Beyond what YAML itself forbids, these are refused, for they drop something in silence, or take a program down:
    a key that stands twice in one place, an alias of what it stands in, aliases that unfold to more than
    ``MOST_VALUES``, more than ``DEEPEST`` levels, tags, control characters and halves of surrogate pairs.

    Args:
        path: the file.
        what: kind of file, for messages.
    Returns:
        What it holds; None for an empty one.
    Raises:
        InputError: no file, not UTF-8, larger than ``LARGEST_FILE``, not YAML, or one of the above; in one line.
    """
    if not os.path.isfile(path):  # Path.is_file raises for names that no file can have
        raise InputError(
            f"{shown(os.fspath(path), 300)[1:-1]}: expected a {what} file, found none; check the path"
        )
    size = Path(path).stat().st_size
    if size > LARGEST_FILE:
        raise InputError(
            f"{path}: expected a {what} file of at most {LARGEST_FILE >> 10} kB, found {size >> 10} kB; "
            "check the path"
        )
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return copy.deepcopy(_values_of(text, str(path).lower().endswith(".json")))
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: expected a YAML file in UTF-8, found other bytes; check the path"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except MENDABLE as error:
        raise InputError(
            f"{path}: expected a {what} file, could not read it ({_reason(error)}); mend it"
        ) from error


@functools.lru_cache(64)  # a federation's check and each of its runs read the same configs
def _values_of(text: str, is_json: bool) -> Any:
    return _read_json(text) if is_json else yaml.load(text, _Loader)


def read_values(path: str | os.PathLike, what: str = "YAML") -> dict[str, Any]:
    """The same for a file of ``key: value`` lines.

    Raises:
        InputError: as :func:`read_yaml`, or the file holds something else.
    """
    values = read_yaml(path, what)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected 'key: value' lines, found {shown(values)}")
    return values


def read_configs(files: Iterable[str | os.PathLike]) -> dict[str, Any]:
    """Config files of a bundle merged in order, as MONAI merges them: ``+id`` adds to a list or a table.

    Raises:
        InputError: as :func:`read_values`, an id that is no text, or a ``+id`` that does not fit.
    """
    parser = ConfigParser({})
    for file in files:
        for id, value in read_values(file).items():
            if not isinstance(id, str):
                raise InputError(f"{file}: expected ids as texts, found {shown(id)}; write it in quotes")
            try:
                merge_kv(parser, id, value)
            except (KeyError, ValueError, TypeError) as error:
                raise InputError(
                    f"{file}: '{id}' does not fit the configs before it; check its spelling"
                ) from error
    return parser.get()


def _reason(error: Exception) -> str:
    """What went wrong, and where, in one line."""
    if isinstance(error, RecursionError):
        return f"more than {DEEPEST} levels"
    where, text = "", str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        where = f"line {error.problem_mark.line + 1}: "
        text = ", ".join(filter(None, (error.context, error.problem)))
    text = " ".join(text.split())
    return where + (text if len(text) <= 200 else f"{text[:200]} …")


def _fault(event: yaml.Event | yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which builds no objects, with the limits of :func:`read_yaml`."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values = 0  # so far, with every alias written out
        self._sizes: dict[str, int] = {}  # of what an anchor names

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self._check(event)
        if isinstance(event, yaml.AliasEvent):
            self._values += self._sizes.get(event.anchor, 0)
            return super().compose_node(parent, index)
        before = self._values
        self._depth += 1
        self._values += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._sizes[event.anchor] = self._values - before
        return node

    def _check(self, event: yaml.Event) -> None:
        if self._depth >= DEEPEST:
            raise _fault(event, f"more than {DEEPEST} levels")
        if self._values > MOST_VALUES:
            raise _fault(event, f"more than {MOST_VALUES} values, with each alias written out")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self._sizes:
                raise _fault(event, f"'*{event.anchor}' stands in what it is an alias of")
        elif event.tag is not None:
            raise _fault(event, f"tag {event.tag}; leave it out")
        elif isinstance(event, yaml.ScalarEvent) and not _is_plain(event.value):
            raise _fault(event, f"control character in {shown(event.value)}; leave it out")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            special = key_node.tag in (_MERGE, _VALUE)  # << and =, which PyYAML constructs by itself
            key = key_node.value if special else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _fault(key_node, "a list or a table as a key")
            if key in seen:
                raise _fault(key_node, f"key {shown(key)} stands twice; take one of them out")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _is_plain(text: str) -> bool:
    return not any((ord(c) < 32 and c not in "\t\n") or 0xD800 <= ord(c) <= 0xDFFF for c in text)


def _read_json(text: str) -> Any:
    values = json.loads(text, object_pairs_hook=_without_repetition)
    _check_values(values, 0)
    return values


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"key {shown(key)} stands twice; take one of them out")
        seen.add(key)
    return dict(pairs)


def _check_values(values: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels")
    if isinstance(values, dict):
        _check_values([*values, *values.values()], depth)
    elif isinstance(values, list):
        for value in values:
            _check_values(value, depth + 1)
    elif isinstance(values, str) and not _is_plain(values):
        raise ValueError(f"control character in {shown(values)}; leave it out")


def references(value: Any) -> set[str]:
    """Top-level ids that a config value refers to."""
    return {top_id(found) for text in texts(value) for found in ReferenceResolver.match_refs_pattern(text)}


def top_id(key: Any) -> str:
    """The top-level id of a nested one; ``+`` of a merge left out."""
    return ReferenceResolver.normalize_id(str(key).lstrip("+")).split(ID_SEP_KEY)[0]


def texts(value: Any) -> list[str]:
    """Every string in nested mappings and lists, keys excluded."""
    if isinstance(value, Mapping):
        return [text for child in value.values() for text in texts(child)]
    if isinstance(value, list | tuple):
        return [text for child in value for text in texts(child)]
    return [value] if isinstance(value, str) else []
