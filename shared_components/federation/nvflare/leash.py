"""How a process that starts others ends: with all of them, and no later than its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def leashed(
    module: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen]:
    """Run ``python -m module``, which calls :func:`hold`; it ends with the block, or with this process.

    It has a session of its own, which keeps a terminal's signals from it: this process alone answers them.
    """
    command = (sys.executable, "-m", module, *arguments)
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def hold() -> None:
    """In the process that was started: end, with all that it starts, as soon as the parent or its block does."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def end_all(status: int) -> None:
    """End all processes below this one, whatever their session, and this one."""
    for process in _below(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(status)


def _end_with_parent() -> None:
    os.read(
        0, 1
    )  # nothing is ever sent: this returns at the end of the pipe; a buffer's lock would stop a fork
    end_all(1)


def _below(process: int) -> list[int]:
    """All processes that ``process`` has started, and those that they have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, new = [], [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found
