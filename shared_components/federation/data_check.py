"""The check of every client's data, before anything trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared_components.data.check import check_client_root
from shared_components.data.description import read_description
from shared_components.errors import InputError
from shared_components.federation.federation import Federation


def check_clients(federation: Federation) -> None:
    """Check each client's data roots against the federation's label set and the client's domains, and those of
    a study's unseen scanners, which need no training images.

    Raises:
        InputError: every problem of every client, one a line.
    """
    problems = [
        f"client {name}: {problem}"
        for name, client in federation.clients.items()
        for root, domain in zip(client.data_roots, client.domains, strict=True)
        for problem in check_client_root(root, labels=federation.labels, domains=[domain])
    ]
    problems += [
        f"unseen {name}: {problem}"
        for name, root in federation.unseen.items()
        for problem in (
            *check_client_root(root, labels=federation.labels, training=False),
            *seen_domain(root, federation.domains),
        )
    ]
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("\n".join([f"{federation.name}: {number} in the clients' data", *problems]))


def seen_domain(root: str, domains: Sequence[str]) -> Iterator[str]:
    """Say so if an unseen scanner's data root is of one of the federation's ``domains``."""
    content, _ = read_description(root)
    if content.get("domain") in domains:
        yield (
            f"{root}: its domain {content['domain']!r} is one of the federation's, whose images are trained on; "
            "correct 'domain' there or leave it out of 'unseen'"
        )
