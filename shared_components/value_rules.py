"""What a value of a config may be: a test, and the words for it that a message needs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared_components.errors import shown


@dataclass(frozen=True)
class Rule:
    """What is allowed, in words that follow "expected", and the test for it."""

    allowed: str
    fits: Callable[[Any], bool]

    def fault(self, name: str, value: Any) -> str | None:
        """A line if ``value`` is not allowed, with the cure where a number was written as a text.

        >>> whole(1, 8).fault("batch_size", 0)
        'batch_size: expected a whole number from 1 to 8, found 0'
        """
        if self.fits(value):
            return None
        return f"{name}: expected {self.allowed}, found {shown(value)}{_cure(value)}"


def whole(low: int | None = None, high: int | None = None) -> Rule:
    """A whole number, no boolean, both limits included; ``high`` or both may be missing.

    >>> whole(1).allowed, whole().allowed
    ('a whole number from 1 up', 'a whole number')
    """
    limits = "" if low is None else f" from {low} up" if high is None else f" from {low} to {high}"
    least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
    return Rule(f"a whole number{limits}", lambda value: _is_whole(value) and least <= value <= most)


def finite() -> Rule:
    """Any number, no boolean, but infinity and what is none."""
    return Rule("a number", _is_number)


def number(low: float, high: float, above: bool = False, unit: str = "") -> Rule:
    """A finite number, both limits included; ``above``: the lower one is not."""
    words = f"a number above {low:g}, up to {high:g}" if above else f"a number from {low:g} to {high:g}"
    return Rule(
        f"{words} {unit}".rstrip(), lambda v: _is_number(v) and low <= v <= high and not (above and v == low)
    )


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda value: isinstance(value, bool))


def text(pattern: str = r".{1,4000}", words: str = "a text") -> Rule:
    """A text that fits a pattern."""
    return Rule(words, lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value, re.DOTALL)))


def choice(*values: str) -> Rule:
    """One of a few texts."""
    return Rule(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def optional(rule: Rule) -> Rule:
    """Null is allowed too."""
    return Rule(f"{rule.allowed}, or null", lambda value: value is None or rule.fits(value))


def several(rule: Rule, least: int, most: int) -> Rule:
    """A list of values that each fit ``rule``."""
    size = f"{least}" if least == most else f"{least} to {most}"
    return Rule(
        f"a list of {size}, each {rule.allowed}",
        lambda value: (
            isinstance(value, list | tuple) and least <= len(value) <= most and all(map(rule.fits, value))
        ),
    )


def table(keys: Rule, values: Rule, most: int) -> Rule:
    """A table of up to ``most`` entries."""
    return Rule(
        f"a table from {keys.allowed} to {values.allowed}",
        lambda value: (
            isinstance(value, dict)
            and len(value) <= most
            and all(map(keys.fits, value))
            and all(map(values.fits, value.values()))
        ),
    )


def either(*rules: Rule) -> Rule:
    """What one of the rules allows."""
    return Rule(", or ".join(r.allowed for r in rules), lambda value: any(r.fits(value) for r in rules))


def such(rule: Rule, words: str, holds: Callable[[Any], bool]) -> Rule:
    """What ``rule`` allows and for which one thing more holds."""
    return Rule(f"{rule.allowed}, {words}", lambda value: rule.fits(value) and holds(value))


def rising(values: Sequence[float]) -> bool:
    """Whether each value is above the one before."""
    return all(a < b for a, b in itertools.pairwise(values))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _cure(value: Any) -> str:
    """YAML takes ``1e-3`` for a text, and so does everybody what stands in quotes."""
    if not isinstance(value, str):
        return ""
    try:
        meant = float(value)
    except ValueError:
        return ""
    if not math.isfinite(meant):
        return ""
    written = f"{meant:g}" if "e" not in f"{meant:g}" else f"{meant:.1e}"
    return f"; this is a text, write {written} without quotes"
