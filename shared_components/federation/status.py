"""How far a federated run is, from its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.privacy import spent
from shared_components.federation.rounds_log import FIXED, read_rows
from shared_components.federation.run_folder import CURE, RunFolder
from shared_components.records import read_record


@dataclass(frozen=True)
class Status:
    """A run as its folder shows it.

    Attributes:
        name: the federation's name.
        round: the last whole round; None before the first global model.
        rounds: rounds of the whole run.
        running: whether a process works on it now.
        clients: client -> its last row of ``rounds.csv``; empty for one that was not drawn yet.
        megabytes: exchanged so far, both ways, of all clients.
        exported: the bundle's deliverable, once written; one of each client where each has a model of its own.
        without_model: clients that have none of their own at the end, where each should.
        part: whether it belongs to a study, which alone can go on with it.
        epsilons: client -> what its updates with noise have spent, those before the run began included, also of
            clients that take part no longer.
    """

    name: str
    round: int | None
    rounds: int
    running: bool
    clients: dict[str, dict[str, str]]
    megabytes: float
    exported: tuple[Path, ...]
    without_model: tuple[str, ...] = ()
    part: bool = False
    epsilons: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        done = "no whole round yet" if self.round is None else f"round {self.round} of {self.rounds}"
        stopped = "not finished" if self.part else "stopped"
        state = "running" if self.running else "done" if self.round == self.rounds else stopped
        lines = [f"{self.name}: {done}, {state}, {self.megabytes:.1f} MB exchanged"]
        for client, row in self.clients.items():
            metrics = "  ".join(f"{k} {float(v):.3f}" for k, v in row.items() if k not in FIXED)
            last = f"round {row['round']}, {row['images']} images  {metrics}" if row else "not drawn yet"
            lines.append(f"  {client}: {last}{self._epsilon(client)}")
        gone = [client for client in self.epsilons if client not in self.clients]
        lines += [f"  {client}: takes part no longer{self._epsilon(client)}" for client in gone]
        lines += [f"  written: {file}" for file in self.exported]
        lines += [f"  {client}: could not write its own model" for client in self.without_model]
        if not self.part and (state == stopped or (self.without_model and not self.running)):
            lines.append("  go on with: federate.py run FILE --resume")
        return "\n".join(lines)

    def _epsilon(self, client: str) -> str:
        return f"  epsilon {self.epsilons[client]:.3g}" if client in self.epsilons else ""


def run_status(root: str | os.PathLike) -> Status:
    """Read the state of the run in the folder ``root``.

    Raises:
        InputError: ``root`` is no run's folder, or one of its files is damaged.
    """
    folder = RunFolder(root)
    if not folder.federation_file.is_file():
        raise InputError(
            f"{folder.root}: expected the folder of a run, found no federation.yaml; check the path"
        )
    federation = read_record(folder.federation_file, CURE, sealed=True)
    committed = folder.committed()
    rows = [r for r in read_rows(folder.rounds_file) if committed and int(r["round"]) <= committed.round]
    file = f"{Path(federation['bundle']).name}.pt"
    exported = [folder.root / file, *(folder.client(name) / file for name in federation["clients"])]
    return Status(
        name=federation["name"],
        round=committed.round if committed else None,
        rounds=federation["rounds"],
        running=folder.lock.is_held(),
        clients={name: {} for name in federation["clients"]} | {row["client"]: row for row in rows},
        megabytes=sum(int(row["bytes_up"]) + int(row["bytes_down"]) for row in rows) / 1e6,
        exported=tuple(file for file in exported if file.is_file()),
        without_model=tuple(folder.left_out_of_export()),
        epsilons=_epsilons(folder, federation, rows),
    )


def _epsilons(
    folder: RunFolder, federation: Mapping[str, Any], rows: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Client to what its updates have spent; the rows' own numbers hold where they count as many."""
    told = {(row["client"], int(row["released"])): float(row["epsilon"]) for row in rows if "released" in row}
    privacy, before, counts = federation.get("privacy") or {}, folder.spent_before(), folder.released()
    if not privacy.get("noise"):
        return {}
    counts = {name: 0 for name in federation["clients"] if name in before} | counts
    noise, delta = float(privacy["noise"]), float(privacy["delta"])
    return {
        client: told[client, number]
        if (client, number) in told
        else spent(noise, number, delta, before.get(client, 0.0))
        for client, number in counts.items()
    }
