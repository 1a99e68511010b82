"""Faults of a study: kills, two of them at once, damaged files of every kind, full disks; nothing may be lost."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_study import (
    LONGEST,
    FaultyStudy,
    fill_disks,
    kill,
    seconds_until_alone,
    wait_until,
)
from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import read_federation
from shared_components.files import remove_tree
from shared_components.study.runner import run_study

STUDY_GROUPS = ("kills", "two", "together", "damage", "full")
LATEST = {"start": 12.0, "rounds": 6.0}  # s after which the parent is killed; in a stage 3
ORPHANS = 10.0  # s after which a worker that outlives its parent counts as lost
OWN = (
    *(
        f"factory/{name}"
        for name in ("federation.yaml", "bundle.yaml", "data.json", "versions.json", "seconds.json")
    ),
    *("factory/rounds.csv", "factory/global.pt", "factory/global.previous.pt", "factory/factory.pt"),
    *("factory/clients/*/state.*.pt",),
    *("study.json", "digests.json", "report.html", "clients/*/source_model/model.pt"),
    *(
        f"clients/*/source_model/{name}"
        for name in ("done.json", "checkpoint.pt", "metrics.csv", "overrides.yaml")
    ),
    *("clients/*/synthetic/*/dataset.json", "clients/*/synthetic/**/*.nii.gz"),
    *(
        f"clients/*/adaptation_predictions/{name}"
        for name in ("cases.json", "scores.csv", "*.nii.gz", "done.json")
    ),
)
BACK = "goes on from round"  # of the warning that a damaged round gives way to the one before


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
        yield "damage", Outcome("own file damaged or gone", *_damage_files(whole, chance, count))
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


def _damage_files(
    study: FaultyStudy, chance: random.Random, count: int | None = None
) -> tuple[int, str, tuple[str, ...]]:
    """Flip a byte of a file of each kind, and cut, empty or remove it, and resume each time.

    Args:
        study: that has ended.
        chance: draws files and places in them.
        count: kinds of files, drawn of all; None: all.
    Returns:
        How often a file was damaged, what then became of it, and what was lost.
    """
    federation = read_federation(str(study.file))
    expected = study.results()
    fates: Counter[str] = Counter()
    lost: list[str] = []
    for pattern in OWN if count is None else chance.sample(OWN, min(count, len(OWN))):
        file = chance.choice(sorted(study.folder.glob(pattern)))
        content = file.read_bytes()
        for damaged in (_flipped(content, chance), chance.choice((content[: len(content) // 2], b"", None))):
            _put(file, damaged)
            told, warned = _resumed(federation)
            if told is None:
                still = (file.read_bytes() if file.is_file() else None) == damaged
                again = "made again from the round before" if BACK in warned else "made again"
                fates["not needed any more" if still else again] += 1
                _put(file, content if still else file.read_bytes())
            else:
                fates["refused in one line with the cure"] += 1
                lost += [] if _is_mendable(told) else [f"{file.name}: {told}"]
                _put(file, content)  # the cure: a copy
                told, _ = _resumed(federation)
                lost += [] if told is None else [f"{file.name} put back: {told}"]
            lost += [
                f"after damage to {pattern}: {name} differs"
                for name, digest in study.results().items()
                if expected.get(name) != digest
            ]
            content = file.read_bytes()
        print(f"  {pattern}: {_told(fates)}, so far", flush=True)
    return fates.total(), _told(fates), tuple(lost)


def _told(fates: Counter[str]) -> str:
    return ", ".join(f"{number} {fate}" for fate, number in fates.items())


def _flipped(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def _put(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def _resumed(federation: Federation) -> tuple[str | None, str]:
    """The message with which a resumed study was refused, None when it has ended; and its warnings."""
    warnings = io.StringIO()
    with contextlib.redirect_stderr(warnings):
        try:
            run_study(federation, resume=True, quiet=True)
        except InputError as error:
            return str(error), warnings.getvalue()
    return None, warnings.getvalue()


def _is_mendable(told: str) -> bool:
    return "\n" not in told and ("--force" in told or "remove it" in told)
