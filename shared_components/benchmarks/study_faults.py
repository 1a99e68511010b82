"""Faults of a study: kills, two of them at once, damaged files, full disks; nothing may be lost."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared_components.benchmarks.fault_damage import damage_files
from shared_components.benchmarks.fault_disk import fill_disks
from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_study import (
    LONGEST,
    FaultyStudy,
    kill,
    seconds_until_alone,
    wait_until,
)
from shared_components.errors import InputError
from shared_components.files import remove_tree

STUDY_GROUPS = ("kills", "two", "together", "damage", "full")
LATEST = {"start": 12.0, "rounds": 6.0}  # s after which the parent is killed; in a stage 3
ORPHANS = 10.0  # s after which a worker that outlives its parent counts as lost


def study_faults(
    folder: Path, data: Path, seed: int, count: int | None, only: Sequence[str]
) -> Iterator[tuple[str, Outcome]]:
    """Break the smallest study in every way.

    Args:
        folder: for the runs.
        data: the phantoms of ``make_phantoms``.
        seed: of the moments and places.
        count: kills and kinds of damaged files at most, drawn of all; None: all.
        only: of :data:`STUDY_GROUPS`.
    Returns:
        Group and outcome, one after the other.
    Raises:
        InputError: an unbroken study fails already.
    """
    whole, broken = (FaultyStudy(folder / name, data) for name in ("whole", "broken"))
    for study in (whole, broken):
        remove_tree(study.folder)
    start = time.perf_counter()
    if whole.run() != 0:
        raise InputError(f"{whole.log}: the unbroken study failed: {whole.said()}")
    print(f"unbroken study: {time.perf_counter() - start:.0f} s", flush=True)
    chance = random.Random(seed)
    if "kills" in only:
        yield "kills", _kills(whole, broken, chance, count)
    if "two" in only:
        yield "two", _two_at_once(broken)
    if "together" in only:
        yield "together", _compared("what all these runs gave together", whole, broken)
    if "damage" in only:
        yield "damage", Outcome("own file damaged or gone", *damage_files(whole, chance, count))
    if "full" in only:
        yield "full", Outcome("disk full", *fill_disks(whole, data))


def _kills(whole: FaultyStudy, broken: FaultyStudy, chance: random.Random, count: int | None) -> Outcome:
    """``kill -9`` of the parent while it starts, in the rounds, and in every stage, in the order of the study."""
    stages = [stage.relative_to(whole.folder) for stage in sorted(whole.stages(), key=_ended)]
    orphans, lost = [], []
    moments: list[str | Path] = [*["start"] * 3, *["rounds"] * 3, *stages]
    drawn = sorted(chance.sample(range(len(moments)), min(count or len(moments), len(moments))))
    for moment in [moments[place] for place in drawn]:
        remove_tree(broken.folder / moment)  # a stage that is done already; the moment is no folder otherwise
        before = broken.whole_rounds(), set(broken.stages())
        process = broken.start("--resume")
        _wait_for(moment, broken, process)
        time.sleep(chance.uniform(0, LATEST.get(str(moment), 3)))
        if process.poll() not in (None, 0):
            lost.append(f"{moment}: the study ended by itself: {broken.said()}")
        kill(process)
        orphans.append(seconds_until_alone(process))
        if broken.whole_rounds() < before[0] or not before[1] <= set(broken.stages()):
            lost.append(f"{moment}: a whole round or a finished stage is gone")
        print(
            f"  killed in {moment}: {broken.whole_rounds()} rounds, {len(broken.stages())} stages", flush=True
        )
    if max(orphans) > ORPHANS:
        lost.append(f"a worker outlived its parent by {max(orphans):.0f} s")
    survived = f"whole rounds and finished stages; no worker outlived its parent by {max(orphans):.1f} s"
    return Outcome("kill -9 at random moments of the stages", len(drawn), survived, tuple(lost))


def _ended(stage: Path) -> int:
    return (stage / "done.json").stat().st_mtime_ns


def _wait_for(moment: str | Path, study: FaultyStudy, process: subprocess.Popen) -> None:
    """Wait until the study is in its rounds, or in a stage."""
    if moment == "start":
        return
    sign = study.folder / ("factory/clients" if moment == "rounds" else Path(moment, "log.txt"))
    wait_until(lambda: sign.exists() or process.poll() is not None, LONGEST)


def _two_at_once(study: FaultyStudy) -> Outcome:
    """A second study, with ``--resume``, ``--force`` and neither, beside one that is held in mid-stage meanwhile."""
    remove_tree(study.folder / "clients" / "north" / "source_model")  # so that there is something to do
    first = study.start("--resume")
    _wait_for(Path("clients/north/source_model"), study, first)
    first.send_signal(signal.SIGSTOP)
    try:
        lost = [fault for words in (("--resume",), ("--force",), ()) for fault in _beside(study, *words)]
    finally:
        first.send_signal(signal.SIGCONT)
    if not wait_until(lambda: first.poll() is not None, LONGEST) or first.returncode:
        lost.append(f"the first study failed: {study.said()}")
    return Outcome("a second study in the same folder", 3, "the first; the others were refused", tuple(lost))


def _beside(study: FaultyStudy, *arguments: str) -> Iterator[str]:
    """Start a second study in the folder; what is wrong with how it ended."""
    finished = set(study.stages())
    second = FaultyStudy(study.folder, study.data)
    second.log = study.log.with_suffix(".second.log")
    code = second.run(*arguments)
    if code != 2 or "another process runs in this folder" not in second.said():
        yield f"study {' '.join(arguments)} beside another: code {code}, {second.said()}"
    if not finished <= set(study.stages()):
        yield f"study {' '.join(arguments)} beside another has removed finished stages"


def _compared(fault: str, whole: FaultyStudy, broken: FaultyStudy) -> Outcome:
    code = broken.run("--resume")
    lost = different(whole, broken) if code == 0 else [f"resuming failed: code {code}, {broken.said()}"]
    return Outcome(fault, 1, f"{len(whole.results())} files as in an unbroken study", tuple(lost))


def different(whole: FaultyStudy, other: FaultyStudy) -> list[str]:
    """Results of an unbroken study that another lacks or has otherwise."""
    expected, found = whole.results(), other.results()
    return [
        f"{name} differs" for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)
    ]
