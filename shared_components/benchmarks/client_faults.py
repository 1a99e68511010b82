"""Faults of clients in mid-round: the others go on as if it had failed by an error of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_federation import CERTIFICATES, FaultyFederation, same_weights


@dataclass(frozen=True)
class ClientFault:
    """A client that fails in a round.

    Attributes:
        round: of the federation.
        client: its name.
        own: the same round, counted by the client, which does not count those in which it was left out.
        kind: see :class:`fault_handler.Misbehave`.
        fault: what is done.
        reason: what its row of ``rounds.csv`` must say, as a pattern.
    """

    round: int
    client: str
    own: int
    kind: str
    fault: str
    reason: str


CLIENT_FAULTS = (
    ClientFault(
        1, "north", 1, "killed", "kill -9 of a client's process in mid-round", "the worker process died"
    ),
    ClientFault(2, "south", 2, "nan", "update with NaN", "holds NaN or infinite values"),
    ClientFault(3, "island", 3, "shape", "update of a wrong shape", r"expected \(.*as in the global model"),
    ClientFault(4, "north", 3, "huge", "10⁶-fold update", "more than largest_update|beyond float16"),
    ClientFault(5, "south", 4, "slow", "client slower than round_timeout", r"\(round_timeout\)"),
)
SITE_FAULT = ClientFault(
    6, "island", 5, "site_killed", "kill -9 of a site's NVFlare process in mid-round", "its process died"
)
DEAD_FOR_GOOD = (
    ClientFault(2, "north", 2, "site_killed", SITE_FAULT.fault, SITE_FAULT.reason),
    ClientFault(3, "south", 3, "machine_killed", "kill -9 of all of a site's NVFlare", SITE_FAULT.reason),
)
ROUNDS = 6


def faults_in_turn(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """A round with each fault, in one run; after each the client goes on from its own state.

    Certificates show nothing that NVFlare's simulator does not, but for sites that die.
    """
    if engine == CERTIFICATES:
        return
    faults = CLIENT_FAULTS if engine == "local" else (*CLIENT_FAULTS, SITE_FAULT)
    errors = [f"{fault.own} {fault.client} error" for fault in faults]
    expected = FaultyFederation(folder / f"errors-{engine}", data, rounds=ROUNDS, plan=errors)
    expected.must_run("--force")
    plan = [f"{fault.own} {fault.client} {fault.kind}" for fault in faults]
    federation = FaultyFederation(folder / f"clients-{engine}", data, engine, ROUNDS, plan)
    lost = _compared(expected, federation, federation.run("--force"))
    survived = (
        "the round, without that client; in the next it goes on from its own state; the same weights as local"
    )
    yield from _rows(federation, engine, faults, survived, lost)


def dead_sites(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Sites that die for good, one in part, one altogether: certificates alone show how NVFlare takes it."""
    if engine != CERTIFICATES:
        return
    errors = [f"{fault.own} {fault.client} gone" for fault in DEAD_FOR_GOOD]
    expected = FaultyFederation(folder / "errors-dead", data, rounds=4, plan=errors, min_clients=1)
    expected.must_run("--force")
    plan = [f"{fault.own} {fault.client} {fault.kind}" for fault in DEAD_FOR_GOOD]
    federation = FaultyFederation(folder / f"dead-{engine}", data, engine, 4, plan, min_clients=1)
    lost = _compared(expected, federation, federation.run("--force"))
    survived = "all rounds, without that client from then on; the same weights as local"
    later = {(number, fault.client) for fault in DEAD_FOR_GOOD for number in range(fault.round, 5)}
    yield from _rows(federation, engine, DEAD_FOR_GOOD, survived, lost, later)


def _compared(expected: FaultyFederation, federation: FaultyFederation, code: int | None) -> list[str]:
    if code != 0:
        return [federation.ending(code)]
    files = [name for name in ("global.pt", "factory.pt") if not same_weights(expected, federation, name)]
    return [f"{name}: not as where the client failed by itself on the local engine" for name in files]


def _rows(
    federation: FaultyFederation,
    engine: str,
    faults: Sequence[ClientFault],
    survived: str,
    lost: Sequence[str],
    may_be_missing: Set[tuple[int, str]] = frozenset(),
) -> Iterator[Outcome]:
    left_out = federation.left_out()
    for fault in faults:
        told, own = left_out.get((fault.round, fault.client), ""), []
        if not re.search(fault.reason, told):
            own.append(f"the row of {fault.client} says {told!r}")
        line = rf"^round {fault.round}/.*left out: {fault.client} \("
        if not federation.lines(line):
            own.append(f"the line of round {fault.round} does not name {fault.client}")
        yield Outcome(fault.fault, 1, survived, tuple(own), engine, f"left out: {fault.client} ({told})")
    planned = {(fault.round, fault.client) for fault in faults} | may_be_missing
    others = tuple(f"round {r}: {name} was left out as well" for r, name in sorted(set(left_out) - planned))
    if others:
        yield Outcome("the other rounds", len(others), "the run", others, engine)
    if lost:
        yield Outcome("these faults in one run", 1, "what is told of each", tuple(lost), engine)
