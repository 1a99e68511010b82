"""Frozen dataclasses as the plain values of a record, and back.

A class says what a record holds: its fields may be texts, numbers, paths, tuples, mappings, other such classes and
``None``. A field that has its default is left out of the plain values. Paths are plain as texts, relative to the
record's folder where they lie in it, so that the folder can be moved.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared_components.errors import InputError, shown

Typed = TypeVar("Typed")
KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


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
