"""Faults of a federation's rounds, on either engine: whoever fails, nothing may hang and no whole round may be lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shared_components.benchmarks.fault_disk import small_disk
from shared_components.benchmarks.fault_handler import FILLER
from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_federation import LONGEST, FaultyFederation, ended, same_weights
from shared_components.benchmarks.faulty_study import wait_until
from shared_components.benchmarks.process_tree import command, tree
from shared_components.errors import InputError
from shared_components.files import make_folder, remove_files, remove_tree


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


ROUNDS = 4
ORPHANS = 30.0  # s after which a process that outlives the run counts as lost
SERVER = "nvflare.simulator_process"  # runs NVFlare's server in the last of its forks
CLIENT_FAULTS = (
    ClientFault(
        1, "north", 1, "killed", "kill -9 of a client's process in mid-round", "the worker process died"
    ),
    ClientFault(2, "south", 2, "nan", "update with NaN", "holds NaN or infinite values"),
    ClientFault(3, "island", 3, "shape", "update of a wrong shape", r"expected \(.*as in the global model"),
    ClientFault(4, "north", 3, "huge", "10⁶-fold update", "more than largest_update"),
    ClientFault(5, "south", 4, "slow", "client slower than round_timeout", r"\(round_timeout\)"),
)
SITE_FAULT = ClientFault(
    6, "north", 4, "site_killed", "kill -9 of a client's NVFlare process in mid-round", "its process died"
)
RESUMED = "all rounds; resumed, the same weights as unbroken"


def federation_faults(folder: Path, data: Path, engines: Sequence[str]) -> Iterator[Outcome]:
    """Break the smallest federation in every way, on each engine.

    Args:
        folder: for the runs.
        data: the phantoms of ``make_phantoms``.
        engines: of ``local`` and ``nvflare``.
    Raises:
        InputError: an unbroken run fails already.
    """
    make_folder(folder)
    whole = FaultyFederation(folder / "whole", data, rounds=ROUNDS)
    _must_run(whole)
    for engine in engines:
        yield from _client_faults(folder, data, engine)
        yield _coordinator_killed(folder, data, engine, whole)
        yield from _truncated(folder, data, engine, whole)
        yield _full_disk(folder, data, engine, whole)


def _must_run(federation: FaultyFederation) -> None:
    if federation.run("--force"):
        raise InputError(f"{federation.log}: the unbroken run failed: {federation.said()}")


def _client_faults(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """A round with each fault, in one run; the same weights as where the client failed by an error of its own."""
    faults = CLIENT_FAULTS if engine == "local" else (*CLIENT_FAULTS, SITE_FAULT)
    rounds = max(len(CLIENT_FAULTS) + 1, len(faults))  # in the last one nobody fails, or one for good
    errors = [f"{fault.own} {fault.client} error" for fault in faults]
    expected = FaultyFederation(folder / f"errors-{engine}", data, rounds=rounds, plan=errors)
    _must_run(expected)
    plan = [f"{fault.own} {fault.client} {fault.kind}" for fault in faults]
    federation = FaultyFederation(folder / f"clients-{engine}", data, engine, rounds, plan)
    code = federation.run("--force")
    lost = [] if code == 0 else [_ending(federation, code)]
    lost += [] if lost or same_weights(expected, federation) else ["the others' rounds: other weights"]
    for fault in faults:
        yield _left_out(federation, engine, fault, lost)
    planned = {(fault.round, fault.client) for fault in faults}
    others = sorted(set(federation.left_out()) - planned)
    told = tuple(f"round {round}: {client} was left out as well" for round, client in others)
    yield Outcome(
        "the round after", len(faults), "the client, which goes on from its own state", told, engine
    )


def _left_out(federation: FaultyFederation, engine: str, fault: ClientFault, lost: list[str]) -> Outcome:
    told = federation.left_out().get((fault.round, fault.client), "")
    line = rf"^round {fault.round}/.*left out: {fault.client} \("
    wrong = [*lost, *([] if re.search(fault.reason, told) else [f"the row of {fault.client} says {told!r}"])]
    if not re.search(line, federation.output(), re.MULTILINE):
        wrong.append(f"the line of round {fault.round} does not name {fault.client}")
    survived = "the round, without that client, which is named with the cause"
    return Outcome(fault.fault, 1, survived, tuple(wrong), engine)


def _ending(federation: FaultyFederation, code: int | None) -> str:
    return f"hung for {LONGEST:.0f} s" if code is None else f"code {code}: {federation.said()}"


def _coordinator_killed(folder: Path, data: Path, engine: str, whole: FaultyFederation) -> Outcome:
    """``kill -9`` of the command line, then of NVFlare's server where there is one, and the run is resumed."""
    federation = FaultyFederation(folder / f"killed-{engine}", data, engine, ROUNDS)
    remove_tree(federation.folder)
    lost: list[str] = []
    for round in (1, 2):
        process = federation.start("--resume")
        wait_until(partial(_has_told, federation, round, process), LONGEST)
        members = tree(process.pid)
        server = [member for member in members if SERVER in command(member)]
        os.kill(server[-1] if server and round == 2 else process.pid, signal.SIGKILL)
        code = ended(process)
        if code == 2 and "--resume" not in federation.said():
            lost.append(f"no cure in: {federation.said()}")
        if not wait_until(lambda left=members: not any(command(member) for member in left), ORPHANS):
            lost.append(f"processes outlived it by {ORPHANS:.0f} s")
        if federation.whole_rounds() < round:
            lost.append(f"round {round} was told to be whole and is gone")
    lost += _resumed(federation, whole)
    what = "coordinator" if engine == "local" else "command line; of NVFlare's server"
    return Outcome(f"kill -9 of the {what}", 2, RESUMED, tuple(lost), engine)


def _has_told(federation: FaultyFederation, round: int, process: subprocess.Popen) -> bool:
    return federation.told_round(round) or process.poll() is not None


def _truncated(folder: Path, data: Path, engine: str, whole: FaultyFederation) -> Iterator[Outcome]:
    """Cut the last global model, later a client's last state, and go on for more rounds each time."""
    place = folder / f"truncated-{engine}"
    _must_run(FaultyFederation(place, data, engine, ROUNDS - 2))
    for rounds, name, pattern in (
        (ROUNDS - 1, "global model", "global.pt"),
        (ROUNDS, "client's state", f"clients/south/state.{ROUNDS - 1}.pt"),
    ):
        file = place / pattern
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        federation = FaultyFederation(place, data, engine, rounds)
        code = federation.run("--resume")
        lost = [] if code == 0 else [_ending(federation, code)]
        warning = re.search(
            rf"^warning: .*{re.escape(str(file))}.*goes on from round \d", federation.output(), re.MULTILINE
        )
        lost += [] if warning else [f"no warning names {file.name}"]
        if rounds == ROUNDS and not lost and not same_weights(whole, federation):
            lost.append("other weights than unbroken")
        yield Outcome(
            f"truncated {name}", 1, "the round before; a warning names the file", tuple(lost), engine
        )


def _full_disk(folder: Path, data: Path, engine: str, whole: FaultyFederation) -> Outcome:
    """Fill the coordinator's disk in mid-round, make room again, and resume."""
    place = make_folder(folder / f"full-{engine}")
    with small_disk(place, "64m") as mounted:
        if not mounted:
            return Outcome(
                "full disk at the coordinator", 0, "not tried: mounting is refused here", (), engine
            )
        federation = FaultyFederation(place, data, engine, ROUNDS, ["2 island fill_disk"])
        code, said = federation.run(), federation.said()
        lost = [] if code == 2 and "space" in said else [_ending(federation, code)]
        if federation.whole_rounds() < 1:
            lost.append("round 1 is gone")
        remove_files(place / FILLER)
        lost += _resumed(federation, whole)
    return Outcome(
        "full disk at the coordinator", 1, f"exit code 2 and one line; {RESUMED}", tuple(lost), engine
    )


def _resumed(federation: FaultyFederation, whole: FaultyFederation) -> list[str]:
    code = federation.run("--resume")
    if code != 0:
        return [f"resuming: {_ending(federation, code)}"]
    return [] if same_weights(whole, federation) else ["other weights than unbroken"]
