"""How large content may be that a file describes: a kilobyte can name one list a million million times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_VALUES = 20_000  # with every alias written out; no file that a person wrote comes near
DEEPEST = 32  # levels; a bundle's config has about eight


def unfolded_fault(content: Any, most: int = MOST_VALUES) -> str | None:
    """Why nobody may walk through some content, in words; None if one may. What goes on beyond is not looked at.

    Args:
        content: tables, lists and tuples of anything, nested in any way, in themselves too.
        most: as many values and characters are taken, with every alias written out.
    """
    waiting, count = [(0, content)], 0
    while waiting:
        level, value = waiting.pop()
        count += 1 + (len(value) if isinstance(value, str) else 0)
        if level > DEEPEST:
            return f"more than {DEEPEST} levels"
        if count > most:
            return f"more than {most} values and characters, with each alias written out"
        if isinstance(value, Mapping):
            waiting += [(level + 1, child) for pair in value.items() for child in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(level + 1, child) for child in value]
    return None
