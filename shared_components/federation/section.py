"""A file that people wrote, or a section of it, read key by key: what is wrong is gathered, and told all at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, shown, unknown
from shared_components.value_rules import Rule

LONGEST_PATH = 4000  # bytes; Linux takes 4095, below which files are still to be written
LONGEST_PART = 255  # bytes, of a folder's name


class Section:
    """Gives each value as what it must be, or what stands for none and a line in ``faults``.

    Args:
        values: the content.
        source: the file, beside which paths are looked for.
        what: names the section in ``faults``; empty: the whole file.
        faults: of the whole file, a line for each.
    """

    def __init__(
        self, values: Mapping[str, Any], source: Path, what: str = "", faults: list[str] | None = None
    ) -> None:
        self.values, self.source, self.what = values, source, what
        self.faults = [] if faults is None else faults

    def expect(self, keys: Sequence[str], needed: Sequence[str] = ()) -> None:
        """These keys alone, and among them those that are needed."""
        head = f"{self.what}: " if self.what else ""
        self.faults += unknown(f"{head}key", self.values, list(keys))
        missing = (key for key in needed if not self.values.get(key) and self.values.get(key) != 0)
        self.faults += [f"{head}'{key}' is missing" for key in missing]

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """One text or a list of them."""
        return texts(self.values.get(key) or default, self._named(key), self.faults)

    def text(self, key: str, default: str = "") -> str:
        """One text."""
        value = self.values.get(key)
        if isinstance(value, os.PathLike):  # from a command line's function
            return os.fspath(value)
        if isinstance(value, list | tuple):
            self.faults.append(f"{self._named(key)}: expected one text, found {shown(value)}")
            return default
        return "".join(texts(() if value in (None, "") else value, self._named(key), self.faults)) or default

    def place(self, key: str) -> str:
        """Where something lies that must exist already."""
        path = self.text(key)
        return existing_place(path, self.source, self._named(key), self.faults) if path else ""

    def places(self, key: str) -> tuple[str, ...]:
        """The same of one path or a list of them."""
        what = self._named(key)
        return tuple(existing_place(path, self.source, what, self.faults) for path in self.texts(key))

    def mapping(self, key: str) -> dict[str, Any]:
        """``key: value`` lines."""
        value = self.values.get(key)
        if value is None or isinstance(value, dict):
            return dict(value or {})
        self.faults.append(f"{self._named(key)} must hold 'key: value' lines, found {shown(value)}")
        return {}

    def section(self, key: str) -> Section:
        """The same, to be read key by key."""
        return Section(
            self.mapping(key), self.source, f"{self.what}: {key}" if self.what else key, self.faults
        )

    def ruled(self, rules: Mapping[str, Rule], **defaults: Any) -> dict[str, Any] | None:
        """All values where each keeps its rule; None if one does not, or has none."""
        given = {**dict.fromkeys(rules), **defaults, **self.values}
        own = unknown(f"{self.what}: key", self.values, list(rules))
        own += filter(None, (rule.fault(self._named(key), given[key]) for key, rule in rules.items()))
        self.faults += own
        return None if own else given

    def refuse(self) -> None:
        """End with what has been gathered.

        Raises:
            InputError: every fault of the file, one a line.
        """
        if self.faults:
            one = len(self.faults) == 1
            head = f"{self.source}: {self.faults[0] if one else f'{len(self.faults)} problems:'}"
            raise InputError("\n".join([head, *(f"  - {fault}" for fault in self.faults if not one)]))

    def _named(self, key: str) -> str:
        return f"{self.what}: {key}" if self.what else f"'{key}'"


def texts(values: Any, what: str, faults: list[str]) -> tuple[str, ...]:
    """One text or a list of them as a tuple, numbers as texts; anything else joins ``faults``.

    A text that a config would take for an expression (``$…``), a reference (``@…``) or a macro (``%…``) is refused,
    since every text of a federation file ends up in one.
    """
    found = []
    for value in values if isinstance(values, list | tuple) else (values,):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            cure = "; write it in quotes" if isinstance(value, bool) else ""
            faults.append(f"{what}: expected a text, found {shown(value)}{cure}")
        elif len(str(value).splitlines()) > 1:
            faults.append(f"{what}: expected one line, found {shown(value)}")
        elif is_expression(value):
            faults.append(
                f"{what}: expected a text, found the expression {shown(value)}; these are for overrides, "
                "aggregator and study alone"
            )
        else:
            found.append(str(value))
    return tuple(found)


def is_expression(value: Any) -> bool:
    """Whether a config's parser would replace ``value`` by something else."""
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def existing_place(path: str, source: Path, what: str, faults: list[str]) -> str:
    """``path`` beside the federation file ``source`` or, where there is none, from the working directory.

    Args:
        path: of a file or a folder.
        source: the federation file.
        what: names the path in ``faults``.
        faults: a path that no file can have joins them.
    """
    beside = (source.parent / path).absolute()
    place = os.path.normpath(beside if os.path.exists(beside) else Path(path).absolute())
    faults += path_faults(place, what)
    return place


def path_faults(path: str, what: str) -> list[str]:
    """A line if the operating system takes no path of that length."""
    longest = max((len(os.fsencode(part)) for part in Path(path).parts), default=0)
    if longest <= LONGEST_PART and len(os.fsencode(path)) <= LONGEST_PATH:
        return []
    return [
        f"{what}: expected a path of at most {LONGEST_PATH} letters, {LONGEST_PART} for each folder, "
        f"found {shown(path)} of {len(path)}"
    ]
