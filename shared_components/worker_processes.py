"""Worker processes that end with the process that started them, from their first line on.

Importing torch and MONAI takes seconds, so on Linux one process does it, and every worker is a copy of it. Where there
is CUDA, whose state does not survive a copy, each worker is a fresh process that imports them itself.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any

TERMINAL = (signal.SIGINT, signal.SIGHUP)
"""What a terminal sends to every process that runs in it; the parent alone answers."""

IMPORTED = ["shared_components.preloaded"]
"""What the process has imported that workers are copies of: MONAI, and with it torch and ignite."""


class WorkerProcesses:
    """A pool of processes for a ``with`` block: they end with it, at once when the block fails or this process dies.

    The parent holds one end of a pipe, the leash, which the operating system closes with it; each worker waits at the
    other end. Processes start only as tasks come. None is a copy of the parent: one of torch's threads would hang.

    Args:
        number: processes at most.
        threads: torch's threads in each.
    """

    def __init__(self, number: int, threads: int) -> None:
        start_quiet_tracker()
        context = _starting_context()
        self._end, self._leash = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            number, context, initializer=begin, initargs=(self._end, threads, dict(os.environ))
        )

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future:
        """Let a worker run ``task``; the future of a pool whose worker has died fails with BrokenProcessPool."""
        try:
            with _terminal_waits():
                return self._pool.submit(task, *arguments)
        except BrokenProcessPool as error:
            failed: Future = Future()
            failed.set_exception(error)
            return failed

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(kill=error is not None)

    def end(self, kill: bool = False) -> None:
        """End the processes, after what they are doing or at once."""
        if not kill:
            self._pool.shutdown()
        self._leash.close()
        for process in list((self._pool._processes or {}).values()) if kill else ():
            process.kill()  # one that is stopped, or deep in a library, does not notice the leash
        self._pool.shutdown(cancel_futures=True)
        self._end.close()


def _starting_context() -> BaseContext:
    """How processes are started: by the process that has imported what takes long, where that is safe."""
    import torch

    if sys.platform != "linux" or torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with _terminal_waits():
        forkserver.ensure_running()
    _wait_for_ancestor_at_exit()
    return context


@functools.cache
def _wait_for_ancestor_at_exit() -> None:
    """Nobody else would: the processor time of the workers is that of this process's children only once it is done."""
    util.Finalize(None, forkserver._forkserver._stop, exitpriority=0)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _terminal_waits() -> Iterator[None]:
    """Processes that start meanwhile inherit that a terminal's signals are blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin(leash: Connection, threads: int, environment: Mapping[str, str]) -> None:
    """First thing in a worker.

    Args:
        leash: a pipe that ends when the parent does.
        threads: torch's threads here.
        environment: the parent's; that of the process which this one is a copy of is older.
    """
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()
    for number in TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of what is loaded after this line
    import torch

    torch.set_num_threads(threads)


def _end_with(leash: Connection) -> None:
    leash.poll(None)  # nothing is ever sent: this returns at the end of the pipe
    os._exit(1)


def start_quiet_tracker() -> None:
    """Python's tracker of semaphores removes what killed processes leave; it need not tell of it."""
    options = list(sys.warnoptions)
    sys.warnoptions.append("ignore:resource_tracker")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions[:] = options
