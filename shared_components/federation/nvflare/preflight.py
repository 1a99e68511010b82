"""The check before round one, of clients that are elsewhere: each checks its own data and tells counts."""

from __future__ import annotations

from shared_components.errors import InputError
from shared_components.federation.data_check import check_reports
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.message import Message
from shared_components.federation.site_check import SiteReport


def check_sites(federation: Federation, asking: Asking) -> None:
    """Let every client check its data, and compare what they report.

    Raises:
        InputError: a client did not answer or has problems, or clients differ; every one of them, one a line.
    """
    requests = {name: Message() for name in federation.clients}
    answers = asking.ask("check", requests, "checking their data")
    failures = [
        f"client {name}: {answer.failure}" for name, answer in answers.items() if answer.failure is not None
    ]
    if failures:
        raise InputError("\n".join([f"{federation.name}: the check of the clients' data failed", *failures]))
    check_reports(federation, {name: SiteReport.from_dict(answer.values) for name, answer in answers.items()})
