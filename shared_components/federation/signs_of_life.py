"""Signs of life of a long round: which clients are busy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, wait

from tqdm import tqdm

BEAT = 30.0
"""Seconds after which a client or a stage that is silent is told of."""


def tell_while(futures: Mapping[str, Future], doing: str) -> None:
    """Wait for clients and say now and then which of them are still busy; until one fails or all are done.

    Args:
        futures: client to its work.
        doing: what it is, such as ``"round 3"``.
    """
    while True:
        state = wait(futures.values(), timeout=BEAT, return_when=FIRST_EXCEPTION)
        if not state.not_done or any(future.exception() for future in state.done):
            return
        busy = [name for name, future in futures.items() if future in state.not_done]
        tqdm.write(f"{doing}: {', '.join(busy)} still at work")
        sys.stdout.flush()
