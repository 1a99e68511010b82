"""The statistics of a federation whose clients lie on this machine, each in a worker process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from shared_components.errors import cause
from shared_components.federation.federation import Federation
from shared_components.federation.statistics.site import Asked, site_statistics
from shared_components.interrupts import Interrupts
from shared_components.steps import steps
from shared_components.worker_processes import WorkerProcesses

DIED = "the worker process died; it was killed or ran out of memory, in which case fewer workers may help"


def local_statistics(federation: Federation, asked: Asked) -> dict[str, dict[str, Any]]:
    """Ask every client, several at a time; one that fails is named and the others go on.

    Returns:
        Client to what :func:`site_statistics` returns, or to ``{"failure": text}``.
    """
    interrupts = Interrupts()
    with interrupts.noticed(), _workers(federation) as workers:
        futures = {
            workers.submit(site_statistics, client.data_roots, asked): name
            for name, client in federation.clients.items()
        }
        found = {}
        for future in steps(
            as_completed(futures), "looking at the clients' volumes", "client", total=len(futures)
        ):
            interrupts.check()
            found[futures[future]] = _answer(future)
    return {name: found[name] for name in federation.clients}


@contextlib.contextmanager
def _workers(federation: Federation) -> Iterator[WorkerProcesses | Executor]:
    """As many processes as the federation trains with; with ``workers: 0`` a thread of this one."""
    if not federation.workers:
        with ThreadPoolExecutor(1) as thread:
            yield thread
        return
    number = min(federation.workers, len(federation.clients))
    with WorkerProcesses(number, federation.threads_per_worker) as processes:
        yield processes


def _answer(future: Future) -> dict[str, Any]:
    error = future.exception()
    if error is None:
        return future.result()
    return {"failure": DIED if isinstance(error, BrokenProcessPool) else cause(error)}
