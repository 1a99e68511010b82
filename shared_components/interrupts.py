"""Ctrl-C, SIGTERM and SIGHUP end a program in the same way, and are never lost; so does what takes too long."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the end that a system or a scheduler asks for, and the end of the terminal."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked the program to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Remembers that a signal came, for a loop that must end even if the exception was lost.

    Python raises wherever the program happens to be; inside a destructor or a callback of the garbage collector the
    exception is printed and dropped.
    """

    def __init__(self) -> None:
        self._came: int | None = None

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Notice signals inside the block; those that are ignored (``nohup``) stay so.

        Outside the main thread, where no signal arrives, do nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        noticed = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in noticed:
            signal.signal(number, self._notice)
        try:
            yield
        finally:
            for number in noticed:
                signal.signal(number, before[number])

    def check(self) -> None:
        """Raise :class:`Interrupted` if a signal has come."""
        if self._came is not None:
            raise Interrupted(self._came)

    def _notice(self, number: int, frame: object) -> None:
        self._came = number
        raise Interrupted(number)


@contextlib.contextmanager
def limited(seconds: float, error: Exception) -> Iterator[None]:
    """Raise ``error`` in what runs inside after ``seconds``; in the main thread alone (Linux)."""

    def end(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
