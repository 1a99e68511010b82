"""Signs of life of a long round: which clients are busy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future, wait

from tqdm import tqdm

BEAT = 30.0
"""Seconds after which a client or a stage that is silent is told of."""


def tell_while(futures: Mapping[str, Future], doing: str, quiet: bool = False) -> None:
    """Wait until all clients are done, and say now and then which of them are still busy.

    Args:
        futures: client to its work.
        doing: what it is, such as ``"round 3"``.
        quiet: only wait.
    """
    while True:
        busy = wait(futures.values(), timeout=BEAT).not_done
        if not busy:
            return
        if not quiet:
            names = [name for name, future in futures.items() if future in busy]
            tqdm.write(f"{doing}: {', '.join(names)} still at work")
            sys.stdout.flush()
