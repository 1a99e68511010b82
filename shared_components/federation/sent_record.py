"""What has left a site, as the site itself notes it before anything leaves: a table of answers, and a page about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared_components.errors import counted
from shared_components.federation.budget import Budget
from shared_components.federation.federation import ClientPlan
from shared_components.federation.folder_lock import writing_alone
from shared_components.files import size, write_text
from shared_components.records import read_table, write_table

TABLE, PAGE = "sent.csv", "site_report.md"
COLUMNS = ("time", "job", "task", "about", "tensors", "bytes", "files", "values", "epsilon")
FAILURE = "failure"  # what a record of what has left calls one
UNREADABLE = "move it away, and a new one is begun"
HEAD = ("what was asked", "answers", "tensors", "bytes", "files", "values")


class SentRecord:
    """Enters an answer before it leaves, so that nothing leaves of which the record does not tell.

    ``sent.csv`` has a row for each answer: its ``time`` (UTC), the ``job`` and ``task`` that asked for it, what it is
    ``about`` (the number of a round or the name of a stage), the number of its ``tensors``, the ``bytes`` of tensors
    and files together, and the names of ``files`` and ``values``; ``epsilon`` is what the updates for this federation
    have spent so far. ``site_report.md`` sums it up.

    Args:
        folder: the client's own at its site.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.table, self.page = Path(folder) / TABLE, Path(folder) / PAGE

    def enter(self, **row: Any) -> None:
        """Enter an answer, by the columns but for the time.

        Raises:
            InputError: the table is damaged, or cannot be written.
        """
        time = datetime.now(UTC).isoformat(timespec="seconds")
        new = {key: str(value) for key, value in {"time": time, **row}.items()}
        with writing_alone(self.table):  # statistics and a training may answer at once
            write_table(self.table, COLUMNS, [*self._rows(), new])

    def sum_up(self, federation: str, plan: ClientPlan) -> None:
        """Write the page.

        Args:
            federation: its name.
            plan: of the client.
        """
        write_text(self.page, "\n".join(_page(federation, plan, self._rows())) + "\n")

    def _rows(self) -> list[dict[str, str]]:
        return read_table(self.table, UNREADABLE) if self.table.is_file() else []


def _page(federation: str, plan: ClientPlan, rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """The lines of the page."""
    yield f"# What has left {plan.name} for the federation {federation}"
    yield ""
    yield f"From {rows[0]['time']} to {rows[-1]['time']} (UTC); each answer is a row of {TABLE}, beside this file."
    yield ""
    yield from (f"- {line}" for line in _terms(plan, rows))
    yield ""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{' --- |' * len(HEAD)}"
    for task in dict.fromkeys(row["task"] for row in rows):
        yield f"| {' | '.join(_summed(task, [row for row in rows if row['task'] == task]))} |"


def _terms(plan: ClientPlan, rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """How updates travel, how they are protected, and what that has spent."""
    exchange, privacy = plan.exchange, plan.privacy
    updates = [row for row in rows if row["task"] == "train" and row["values"] != FAILURE]
    rounds = sorted({_whole(row["about"]) for row in updates} - {0})
    last = f", the last of round {rounds[-1]}" if rounds else ""
    yield f"updates to {counted(len(rounds), 'round')}{last}"
    yield f"each as {exchange.what}, in {exchange.dtype or 'the types of the network'}"
    if privacy is None:
        yield "neither clipped nor given noise"
    else:
        yield f"clipped to an L2 norm of {privacy.clip:g}, with noise of {privacy.noise:g} times that"
    if plan.demand is not None:
        demanded = ", ".join(f"{key} {value}" for key, value in plan.demand.as_dict().items())
        yield f"this site demands {demanded}"
    if privacy is not None and privacy.noise:
        mine = [row["epsilon"] for row in rows if row.get("epsilon")]
        delta = privacy.delta if plan.demand is None else plan.demand.delta
        whole = Budget(plan.budget).epsilon(delta)
        yield f"epsilon {mine[-1] if mine else 0} at delta {privacy.delta:g} for this federation"
        yield f"epsilon {whole:.6g} at delta {delta:g} for all federations of this site together"


def _summed(task: str, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The cells of a task's line."""
    tensors, count = (sum(_whole(row.get(key)) for row in rows) for key in ("tensors", "bytes"))
    names = [
        dict.fromkeys(name for row in rows for name in row.get(key, "").split(", ") if name)
        for key in ("files", "values")
    ]
    return [task, str(len(rows)), str(tensors), size(count), *(", ".join(each) or "none" for each in names)]


def _whole(text: str | None) -> int:
    """A cell's whole number; 0 where it holds none, such as of a round that was asked for and cannot be."""
    return int(text) if text and text.isdecimal() else 0
