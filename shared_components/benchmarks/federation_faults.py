"""Faults of a federation's rounds, on either engine: whoever fails, nothing may hang and no whole round may be lost.

Clients fail in mid-round, and the others go on as if it had been an error of their own. The whole run fails: its
coordinator is killed, its files are damaged, its disk is full; then it is resumed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shared_components.benchmarks.fault_handler import FILLER
from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_federation import (
    CERTIFICATES,
    LONGEST,
    FaultyFederation,
    ended,
    same_weights,
)
from shared_components.benchmarks.faulty_study import small_disk, wait_until
from shared_components.benchmarks.process_tree import command, tree
from shared_components.errors import InputError
from shared_components.files import make_folder, remove_files, remove_tree

RESUMED_ROUNDS = 4  # of a run that is resumed
ORPHANS = 30.0  # s after which a process that outlives the run counts as lost
SERVER = "nvflare.leash simulator"  # runs NVFlare's server in the last of its forks
RESUMED = "all rounds; resumed, the same weights as unbroken"
ROUNDS = 6
ENGINES = ("local", "nvflare", CERTIFICATES)


def _coordinator_killed(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """``kill -9`` of the command line, then of NVFlare's server where there is one, and the run is resumed."""
    if engine == CERTIFICATES:
        return
    federation = FaultyFederation(folder / f"killed-{engine}", data, engine, RESUMED_ROUNDS)
    remove_tree(federation.folder)
    lost: list[str] = []
    for round in (1, 2):
        process = federation.start("--resume")
        wait_until(partial(_has_told, federation, round, process), LONGEST)
        members = tree(process.pid)
        server = [member for member in members if SERVER in command(member)]
        os.kill(server[-1] if server and round == 2 else process.pid, signal.SIGKILL)
        code = ended(process)
        told = federation.said() if code == 2 else ""
        if code is None or (code == 2 and "--resume" not in told):
            lost.append(f"no end, or no cure: {federation.ending(code)}")
        if not wait_until(lambda left=members: not any(command(member) for member in left), ORPHANS):
            lost.append(f"processes outlived it by {ORPHANS:.0f} s")
        if federation.whole_rounds() < round:
            lost.append(f"round {round} was told to be whole and is gone")
    lost += _resumed(folder, data, federation)
    what = "coordinator" if engine == "local" else "command line; of NVFlare's server"
    yield Outcome(f"kill -9 of the {what}", 2, RESUMED, tuple(lost), engine, _plain(told, folder))


def _has_told(federation: FaultyFederation, round: int, process: subprocess.Popen) -> bool:
    return federation.told_round(round) or process.poll() is not None


def _truncated_model(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Cut the last global model, and go on for two more rounds."""
    yield from _truncated(folder, data, engine, "global model", "global.pt")


def _truncated_state(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Cut a client's last state, and go on for two more rounds."""
    yield from _truncated(
        folder, data, engine, "client's state", f"clients/south/state.{RESUMED_ROUNDS - 2}.pt"
    )


def _truncated(folder: Path, data: Path, engine: str, what: str, name: str) -> Iterator[Outcome]:
    if engine == CERTIFICATES:
        return
    place = folder / f"truncated-{Path(name).name.split('.')[0]}-{engine}"
    FaultyFederation(place, data, engine, RESUMED_ROUNDS - 2).must_run("--force")
    file = place / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    federation = FaultyFederation(place, data, engine, RESUMED_ROUNDS)
    lost = _resumed(folder, data, federation)
    warnings = federation.lines(rf"^warning: .*{re.escape(str(file))}.*goes on from round \d")
    lost += [] if warnings else [f"no warning names {file.name}"]
    survived = "the round before; then the same weights as unbroken"
    yield Outcome(
        f"truncated {what}", 1, survived, tuple(lost), engine, _plain("".join(warnings[:1]), folder)
    )


def _full_disk(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Fill the coordinator's disk in mid-round, make room again, and resume."""
    if engine == CERTIFICATES:
        return
    fault, place = "full disk at the coordinator", make_folder(folder / f"full-{engine}")
    with small_disk(place, "64m") as mounted:
        if not mounted:
            yield Outcome(fault, 0, "not tried: mounting is refused here", (), engine)
            return
        federation = FaultyFederation(place, data, engine, RESUMED_ROUNDS, ["2 island fill_disk"])
        code, said = federation.run(), federation.said()
        wanted = ("space", "--resume", str(place))
        lost = [] if code == 2 and all(word in said for word in wanted) else [federation.ending(code)]
        if federation.whole_rounds() < 1:
            lost.append("round 1 is gone")
        remove_files(place / FILLER)
        lost += _resumed(folder, data, federation)
    survived = f"exit code 2 and one line; {RESUMED}"
    yield Outcome(fault, 1, survived, tuple(lost), engine, _plain(said, folder))


def _resumed(folder: Path, data: Path, federation: FaultyFederation) -> list[str]:
    """What is wrong with a run once it is resumed."""
    whole = FaultyFederation(folder / "whole", data, rounds=RESUMED_ROUNDS)
    if whole.whole_rounds() != RESUMED_ROUNDS:
        whole.must_run("--force")
    code = federation.run("--resume")
    if code != 0:
        return [f"resuming: {federation.ending(code)}"]
    return [] if same_weights(whole, federation) else ["other weights than unbroken"]


def _plain(text: str, folder: Path) -> str:
    """A message without the place of the benchmark."""
    return text.replace(f"{folder}/", "")


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


def _faults_in_turn(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
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


def _dead_sites(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
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


GROUPS: dict[str, Callable[[Path, Path, str], Iterator[Outcome]]] = {
    "clients": _faults_in_turn,
    "sites": _dead_sites,
    "coordinator": _coordinator_killed,
    "model": _truncated_model,
    "state": _truncated_state,
    "disk": _full_disk,
}
"""Name to what breaks the smallest federation; each starts afresh."""


def federation_groups(engines: Sequence[str]) -> list[tuple[str, str]]:
    """Group and engine of what can be tried."""
    return [(group, engine) for group in GROUPS for engine in engines]


def federation_faults(folder: Path, data: Path, group: str, engine: str) -> list[Outcome]:
    """Break the smallest federation in one way on an engine, and tell of each outcome.

    Args:
        folder: for the runs.
        data: the phantoms of ``make_phantoms``.
        group: of :data:`GROUPS`.
        engine: of :data:`ENGINES`.
    Returns:
        What was seen; a run that fails where it may not, or hangs, is an outcome too.
    """
    began, outcomes = time.perf_counter(), []
    try:
        for outcome in GROUPS[group](make_folder(folder), data, engine):
            print(outcome, flush=True)
            outcomes.append(outcome)
    except InputError as error:
        outcomes.append(Outcome(f"group {group}", 1, "nothing", (str(error),), engine))
        print(outcomes[-1], flush=True)
    if outcomes:
        print(f"  {group}, {engine}: {time.perf_counter() - began:.0f} s", flush=True)
    return outcomes
