"""The statistics of a federation whose clients lie on this machine."""

from __future__ import annotations

from typing import Any

from shared_components.federation.federation import Federation
from shared_components.federation.local_tasks import failure, of_each_client
from shared_components.federation.statistics.site import Asked, site_statistics


def local_statistics(
    federation: Federation, asked: Asked, timeout: float | None = None
) -> dict[str, dict[str, Any]]:
    """Ask every client, several at a time; one that fails, dies or is too slow is named and the others go on.

    Args:
        federation: whose clients are asked.
        asked: for what.
        timeout: seconds that each may take; None: as long as it needs.
    Returns:
        Client to what :func:`site_statistics` returns, or to ``{"failure": text}``.
    """
    arguments = {name: (client.data_roots, asked) for name, client in federation.clients.items()}
    tasks = of_each_client(federation, site_statistics, arguments, "looking at the clients' volumes", timeout)
    return {
        name: task.result() if failure(task) is None else {"failure": failure(task)}
        for name, task in tasks.items()
    }
