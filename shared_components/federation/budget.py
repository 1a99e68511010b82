"""What has left a site, as the site itself notes it before anything leaves: what it spent of its privacy, and a record.

``Budget`` counts all updates with noise, whichever federation they were for; ``Ledger`` those of one client in one
federation; ``SentRecord`` tells whoever audits the site of every answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, counted, os_error_line
from shared_components.federation.client_entry import Demand
from shared_components.federation.federation import ClientPlan
from shared_components.federation.privacy import composed
from shared_components.files import make_folder, size, write_text
from shared_components.records import read_record, read_table, write_record, write_table

UNKNOWN = "put a copy of it back; without it nobody knows what this site has spent"
UNCOUNTED = "put a copy of it back, or start over with --force, which counts from 0"
TABLE, PAGE = "sent.csv", "site_report.md"
COLUMNS = ("time", "job", "task", "about", "tensors", "bytes", "files", "values", "epsilon")
UNREADABLE = "move it away, and a new one is begun"
HEAD = ("what was asked", "answers", "tensors", "bytes", "files", "values")


class Budget:
    r"""A file of the site's own, which never leaves it.

    Updates of noise multipliers :math:`z_i` compose to one Gaussian mechanism, whose epsilon follows from
    :math:`\sum_i (2 / z_i)^2` alone (see ``privacy.py``): that sum is kept, and holds for any delta.

    Args:
        file: in the folder where the site keeps its runs.
    """

    def __init__(self, file: str | os.PathLike) -> None:
        self.path = Path(file)

    @property
    def squares(self) -> float:
        """The sum so far, 0 where nothing has left.

        Raises:
            InputError: the file is damaged.
        """
        return self._content()[0]

    def epsilon(self, delta: float) -> float:
        """What has been spent so far."""
        return composed(self.squares, delta)

    def refuse(self, noise: float, demand: Demand | None) -> None:
        """Refuse one more update that a site's demand does not allow, before anybody trains for it.

        Args:
            noise: its noise multiplier, above 0.
            demand: the site's, if it has any.
        Raises:
            InputError: it would take the site's epsilon above the limit.
        """
        if demand is not None and demand.epsilon_at_most is not None:
            fault = demand.beyond(composed(self.squares + (2 / noise) ** 2, demand.delta))
            if fault:
                raise InputError(fault)

    def enter(self, noise: float, demand: Demand | None) -> None:
        """Enter one more update, before it leaves; arguments and errors as of :meth:`refuse`."""
        with self._alone():
            self.refuse(noise, demand)
            squares, updates = self._content()
            write_record(self.path, {"squares": squares + (2 / noise) ** 2, "updates": updates + 1})

    def _content(self) -> tuple[float, int]:
        if not self.path.exists():
            return 0.0, 0
        content = read_record(self.path, UNKNOWN, sealed=True)
        return float(content["squares"]), int(content["updates"])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Several jobs at a site write to it in turn."""
        make_folder(self.path.parent)
        lock = self.path.with_suffix(".lock")
        try:
            with lock.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise InputError(os_error_line(error) or f"{lock}: {error}") from error


class Ledger:
    """``privacy.json`` in a client's own folder: ``updates`` that have left, and the last one's ``norm`` as it was
    before it was clipped, by which ``clip`` can be chosen. The file never leaves the client.

    An update is entered before it leaves, so a round that is broken off and done again counts twice.

    Args:
        folder: the client's own.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / "privacy.json"

    @property
    def updates(self) -> int:
        """How many have left.

        Raises:
            InputError: the file is damaged.
        """
        if not self.path.exists():
            return 0
        found = read_record(self.path, UNCOUNTED, sealed=True).get("updates")
        if not isinstance(found, int):
            raise InputError(
                f"{self.path}: expected the number of updates that have left, found {found!r}; {UNCOUNTED}"
            )
        return found

    def enter(self, norm: float) -> int:
        """Enter one more.

        Args:
            norm: the L2 norm of the difference before it was clipped.
        Returns:
            How many have left, this one included.
        """
        updates = self.updates + 1
        write_record(self.path, {"updates": updates, "norm": norm})
        return updates


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
        rows = self._rows()
        time = datetime.now(UTC).isoformat(timespec="seconds")
        rows.append({key: str(value) for key, value in {"time": time, **row}.items()})
        write_table(self.table, COLUMNS, rows)

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
    rounds = sorted({int(row["about"]) for row in rows if row["task"] == "train"})
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
    tensors, count = (sum(int(row.get(key) or 0) for row in rows) for key in ("tensors", "bytes"))
    names = [
        dict.fromkeys(name for row in rows for name in row.get(key, "").split(", ") if name)
        for key in ("files", "values")
    ]
    return [task, str(len(rows)), str(tensors), size(count), *(", ".join(each) or "none" for each in names)]
