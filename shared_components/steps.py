"""Telling how far a long loop is: a bar on a terminal, a line now and then on any other stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Sized
from typing import TypeVar

from tqdm import tqdm

from shared_components.errors import counted

Item = TypeVar("Item")

INTERVAL = 15.0
"""Seconds between two lines on a stream that is no terminal."""


def steps(
    items: Iterable[Item], what: str, unit: str, shown: bool = True, total: int | None = None
) -> Generator[Item, None, None]:
    """Go through ``items`` and tell about it on stderr; of none there is nothing to tell.

    Args:
        items: what is worked on, one after the other.
        what: is done, such as ``"checking data/north"``.
        unit: one of the items, such as ``"image"``.
        shown: tell nothing when false.
        total: number of items, for those that do not know theirs.
    """
    number = len(items) if total is None and isinstance(items, Sized) else total
    if not shown or number == 0:
        yield from items
    elif sys.stderr.isatty():
        yield from tqdm(items, desc=what, unit=unit, total=number, leave=False)
    else:
        yield from _lines(items, what, unit, number)


def _lines(items: Iterable[Item], what: str, unit: str, total: int | None) -> Generator[Item, None, None]:
    of = "" if total is None else f" of {total}"
    print(f"{what}: {counted(total, unit)}" if total is not None else what, file=sys.stderr, flush=True)
    told = time.monotonic()
    for number, item in enumerate(items):
        if number and time.monotonic() - told >= INTERVAL:
            print(f"{what}: {number}{of} {unit}s done", file=sys.stderr, flush=True)
            told = time.monotonic()
        yield item
