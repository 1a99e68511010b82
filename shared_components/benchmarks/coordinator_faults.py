"""Faults of a whole run: its coordinator is killed, its files are damaged, its disk is full; then it is resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from shared_components.benchmarks.fault_disk import small_disk
from shared_components.benchmarks.fault_handler import FILLER
from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_federation import (
    CERTIFICATES,
    LONGEST,
    FaultyFederation,
    ended,
    same_weights,
)
from shared_components.benchmarks.faulty_study import wait_until
from shared_components.benchmarks.process_tree import command, tree
from shared_components.files import make_folder, remove_files, remove_tree

ROUNDS = 4
ORPHANS = 30.0  # s after which a process that outlives the run counts as lost
SERVER = "nvflare.simulator_process"  # runs NVFlare's server in the last of its forks
RESUMED = "all rounds; resumed, the same weights as unbroken"


def coordinator_killed(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """``kill -9`` of the command line, then of NVFlare's server where there is one, and the run is resumed."""
    if engine == CERTIFICATES:
        return
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


def truncated_model(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Cut the last global model, and go on for two more rounds."""
    yield from _truncated(folder, data, engine, "global model", "global.pt")


def truncated_state(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Cut a client's last state, and go on for two more rounds."""
    yield from _truncated(folder, data, engine, "client's state", f"clients/south/state.{ROUNDS - 2}.pt")


def _truncated(folder: Path, data: Path, engine: str, what: str, name: str) -> Iterator[Outcome]:
    if engine == CERTIFICATES:
        return
    place = folder / f"truncated-{Path(name).name.split('.')[0]}-{engine}"
    FaultyFederation(place, data, engine, ROUNDS - 2).must_run("--force")
    file = place / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    federation = FaultyFederation(place, data, engine, ROUNDS)
    lost = _resumed(folder, data, federation)
    warnings = federation.lines(rf"^warning: .*{re.escape(str(file))}.*goes on from round \d")
    lost += [] if warnings else [f"no warning names {file.name}"]
    survived = "the round before; then the same weights as unbroken"
    yield Outcome(
        f"truncated {what}", 1, survived, tuple(lost), engine, _plain("".join(warnings[:1]), folder)
    )


def full_disk(folder: Path, data: Path, engine: str) -> Iterator[Outcome]:
    """Fill the coordinator's disk in mid-round, make room again, and resume."""
    if engine == CERTIFICATES:
        return
    fault, place = "full disk at the coordinator", make_folder(folder / f"full-{engine}")
    with small_disk(place, "64m") as mounted:
        if not mounted:
            yield Outcome(fault, 0, "not tried: mounting is refused here", (), engine)
            return
        federation = FaultyFederation(place, data, engine, ROUNDS, ["2 island fill_disk"])
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
    whole = FaultyFederation(folder / "whole", data, rounds=ROUNDS)
    if whole.whole_rounds() != ROUNDS:
        whole.must_run("--force")
    code = federation.run("--resume")
    if code != 0:
        return [f"resuming: {federation.ending(code)}"]
    return [] if same_weights(whole, federation) else ["other weights than unbroken"]


def _plain(text: str, folder: Path) -> str:
    """A message without the place of the benchmark."""
    return text.replace(f"{folder}/", "")
