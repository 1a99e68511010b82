"""The check of every client's data, before anything trains."""

from __future__ import annotations

from shared_components.data.check import check_client_root
from shared_components.errors import InputError
from shared_components.federation.federation_file import Federation


def check_clients(federation: Federation) -> None:
    """Check each client's data root against the federation's label set and the client's domain.

    Raises:
        InputError: every problem of every client, one a line.
    """
    problems = [
        f"client {name}: {problem}"
        for name, client in federation.clients.items()
        for problem in check_client_root(client.data_root, labels=federation.labels, domains=[client.domain])
    ]
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("\n".join([f"{federation.name}: {number} in the clients' data", *problems]))
