"""A task for each client of this machine, several at a time; what happens to one of them stops no other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from typing import Any

from shared_components.errors import cause
from shared_components.federation.federation import Federation
from shared_components.federation.lane import Lane
from shared_components.interrupts import Interrupts
from shared_components.steps import steps

DIED = "the worker process died; it was killed or ran out of memory, in which case fewer workers may help"
LIMIT = "--timeout"


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
            stack.enter_context(Lane(threads, here=number == 0, died=DIED, limit=LIMIT))
            for _ in range(max(number, 1))
        ]
