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
    return meant(word, known) or f"; known are {_short(', '.join(known))}"


def meant(word: Any, known: Iterable[str]) -> str:
    """`` (did you mean '…'?)``, empty where no known word is near."""
    near = nearest(word, known)
    return f" (did you mean '{near}'?)" if near else ""


def nearest(word: Any, known: Iterable[str]) -> str:
    """The known word that ``word`` is most like; empty where none is near."""
    return next(iter(difflib.get_close_matches(str(word), list(known), n=1)), "")


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} …"
