"""A task for each client of this machine, several at a time; what happens to one of them stops no other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from shared_components.errors import cause
from shared_components.federation.federation import Federation
from shared_components.interrupts import Interrupts
from shared_components.steps import steps
from shared_components.worker_processes import WorkerProcesses

DIED = "the worker process died; it was killed or ran out of memory, in which case fewer workers may help"


def of_each_client(
    federation: Federation, task: Callable[..., Any], arguments: Mapping[str, tuple], what: str
) -> dict[str, Future]:
    """Run ``task(*arguments)`` for every client, in worker processes, and tell how many are done.

    Args:
        federation: says how many processes; with ``workers: 0`` it is a thread of this one.
        task: a module-level function.
        arguments: client to what its task gets.
        what: is done, for the progress.
    Returns:
        Client to its task, which has ended, in the order of ``arguments``.
    """
    interrupts = Interrupts()
    with interrupts.noticed(), _workers(federation) as workers:
        futures = {name: workers.submit(task, *own) for name, own in arguments.items()}
        for _ in steps(as_completed(futures.values()), what, "client", total=len(futures)):
            interrupts.check()
    return futures


def failure(task: Future) -> str | None:
    """Why a task has failed, in one line; None if it has not."""
    error = task.exception()
    if error is None:
        return None
    return DIED if isinstance(error, BrokenProcessPool) else cause(error)


@contextlib.contextmanager
def _workers(federation: Federation) -> Iterator[WorkerProcesses | Executor]:
    if not federation.workers:
        with ThreadPoolExecutor(1) as thread:
            yield thread
        return
    number = min(federation.workers, len(federation.clients))
    with WorkerProcesses(number, federation.threads_per_worker) as processes:
        yield processes
