"""Ctrl-C that is never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupts:
    """Remembers that SIGINT came, for a loop that must end even if the exception was lost.

    Python raises ``KeyboardInterrupt`` wherever the program happens to be; inside a destructor or a callback of the
    garbage collector it is printed and dropped.
    """

    def __init__(self) -> None:
        self._came = False

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Notice SIGINT inside the block; outside the main thread, where no signal arrives, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._notice)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if SIGINT has come."""
        if self._came:
            raise KeyboardInterrupt

    def _notice(self, number: int, frame: object) -> None:
        self._came = True
        raise KeyboardInterrupt
