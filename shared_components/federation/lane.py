"""Tasks in worker processes, each with a queue of its own: a process that dies or hangs stops no other's task."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from shared_components.errors import InputError, cause
from shared_components.interrupts import Interrupts
from shared_components.steps import steps
from shared_components.worker_processes import WorkerProcesses

if TYPE_CHECKING:
    from shared_components.federation.federation import Federation

DIED = (
    "the worker process died; it was killed or ran out of memory, in which case fewer workers may help; "
    "it is started anew for what comes next"
)
BEAT = 30.0  # seconds after which a client or a stage that is silent is told of
TICK = 0.1  # seconds between two looks of who has something to look after meanwhile
LIMIT = "--timeout"  # what users call the time that a client may take


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
                self._worker.submit(_started, task, self._ready).result()  # its start is not the task's time
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


def _started(task: Callable[..., Any], ready: Callable[[], None] | None) -> None:
    """Little: a worker that has got it has imported the modules of ``task`` and ``ready``."""
    if ready is not None:
        ready()


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


def of_each_client(
    federation: Federation,
    task: Callable[..., Any],
    arguments: Mapping[str, tuple],
    what: str,
    timeout: float | None = None,
) -> dict[str, Future]:
    """Run ``task(*arguments)`` for every client, in worker processes, and tell how many are done.

    A process that dies, or is too slow and is ended, takes one client's task with it; another goes on with the next.

    Args:
        federation: says how many processes; with ``workers: 0`` it is a thread of this one, where nothing is ended.
        task: a module-level function.
        arguments: client to what its task gets.
        what: is done, for the progress.
        timeout: seconds that each client's task may take; None: as long as it needs.
    Returns:
        Client to its task, which has ended, in the order of ``arguments``.
    """
    interrupts = Interrupts()
    with interrupts.noticed(), _lanes(federation) as lanes:
        futures = {
            name: lanes[number % len(lanes)].submit(task, *own, timeout=timeout)
            for number, (name, own) in enumerate(arguments.items())
        }
        for _ in steps(as_completed(futures.values()), what, "client", total=len(futures)):
            interrupts.check()
    return futures


def failure(task: Future) -> str | None:
    """Why a task has failed, in one line; None if it has not."""
    error = task.exception()
    return None if error is None else cause(error)


@contextlib.contextmanager
def _lanes(federation: Federation) -> Iterator[list[Lane]]:
    number, threads = min(federation.workers, len(federation.clients)), federation.threads_per_worker
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Lane(threads, here=number == 0, limit=LIMIT)) for _ in range(max(number, 1))
        ]
