"""A worker process with a queue of its own, replaced when it dies or hangs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

import torch

from shared_components.errors import InputError
from shared_components.worker_processes import WorkerProcesses

DIED = (
    "the worker process died; it was killed or ran out of memory, in which case fewer workers may help; "
    "it is started anew for what comes next"
)


class Ended(InputError):
    """The process of a task died, or was ended since it was too slow; the task itself has told nothing."""


class Lane:
    """Runs tasks one after the other, in a process of its own; for a ``with`` block.

    What dies with the process is the task at work alone: the next one gets a fresh process.

    Args:
        threads: torch's threads in the process.
        here: run in a thread of this process, where nothing can be ended from outside.
        fresh: give every task a process of its own.
        died: told of a task whose process died.
        limit: what the user calls the time that a task may take.
        ready: a module-level function that a new process runs first, out of the time that its first task may take.
    """

    def __init__(
        self,
        threads: int,
        here: bool = False,
        fresh: bool = False,
        died: str = DIED,
        limit: str = "round_timeout",
        ready: Callable[[], None] | None = None,
    ) -> None:
        self._threads, self._here, self._fresh, self._died, self._limit = threads, here, fresh, died, limit
        self._ready = ready
        self._queue = ThreadPoolExecutor(1, initializer=self._begin)
        self._worker: WorkerProcesses | None = None
        self._closed = False

    def submit(self, task: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Future:
        """Let ``task(*arguments)`` run when what was submitted before has ended.

        Args:
            task: a module-level function.
            arguments: of it.
            timeout: seconds that it may take once it has begun; then its process is killed.
        Returns:
            Its future, which raises what the task raises, or Ended if its process died or was too slow.
        """
        return self._queue.submit(self._run, task, arguments, timeout)

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = error is not None
        if error is not None:
            self._end(kill=True)
        self._queue.shutdown(cancel_futures=True)
        self._end(kill=False)

    def _begin(self) -> None:
        if self._here:
            torch.set_num_threads(self._threads)

    def _run(self, task: Callable[..., Any], arguments: tuple[Any, ...], timeout: float | None) -> Any:
        if self._here:
            return task(*arguments)
        if self._closed:
            raise CancelledError
        try:
            if self._worker is None:
                self._worker = WorkerProcesses(1, self._threads)
                self._worker.submit(started, task, self._ready).result()  # its start is not the task's time
            future = self._worker.submit(task, *arguments)
            return future.result(timeout)
        except BrokenProcessPool as error:
            self._end(kill=True)
            raise Ended(self._died) from error
        except TimeoutError as error:
            if future.done():  # it is the task's own
                raise
            self._end(kill=True)
            raise Ended(
                f"no answer within {timeout:g} s ({self._limit}); its process was ended and is started anew"
            ) from error
        finally:
            if self._fresh:
                self._end(kill=False)

    def _end(self, kill: bool) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end(kill)


def started(task: Callable[..., Any], ready: Callable[[], None] | None) -> None:
    """Little: a worker that has got it has imported the modules of ``task`` and ``ready``."""
    if ready is not None:
        ready()
