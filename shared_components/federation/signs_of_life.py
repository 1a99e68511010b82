"""Signs of life of a long round: which clients are busy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait

from tqdm import tqdm

BEAT = 30.0
"""Seconds after which a client or a stage that is silent is told of."""

TICK = 0.1
"""Seconds between two looks of who has something to look after meanwhile."""


def tell_while(
    futures: Mapping[str, Future],
    doing: str,
    quiet: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Wait until all clients are done, and say now and then which of them are still busy.

    Args:
        futures: client to its work.
        doing: what it is, such as ``"round 3"``.
        quiet: only wait.
        meanwhile: called again and again; what it raises ends the wait.
    """
    pause, waited = (TICK if meanwhile else BEAT), 0.0
    while True:
        busy = wait(futures.values(), timeout=pause).not_done
        waited += pause
        if not busy:
            return
        if meanwhile is not None:
            meanwhile()
        if not quiet and waited >= BEAT:
            waited = 0.0
            names = [name for name, future in futures.items() if future in busy]
            tqdm.write(f"{doing}: {', '.join(names)} still at work")
            sys.stdout.flush()
