"""Names that nobody knows, and those that were probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def unknown(what: str, found: Iterable[Any], known: list[str]) -> list[str]:
    """A line for each of ``found`` that is none of ``known``."""
    return [f"{what} '{key}' is unknown{closest(key, known)}" for key in found if key not in known]


def closest(word: Any, known: Iterable[str]) -> str:
    """`` (did you mean '…'?)``, or the known words where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else f"; known are {_short(', '.join(known))}"


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} …"
