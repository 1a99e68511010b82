"""A study on a disk that is too small, which grows later."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shared_components.benchmarks.faulty_study import FaultyStudy
from shared_components.files import make_folder

SHARES = (0.05, 0.35, 0.8)  # of what the study needs


def fill_disks(whole: FaultyStudy, data: Path) -> tuple[int, str, tuple[str, ...]]:
    """Run the study on file systems in memory of several sizes, let them grow, and resume.

    Returns:
        How often the disk was full, what survived, and what was lost.
    """
    place = make_folder(whole.folder.parent / "full")
    needed = sum(file.stat().st_size for file in whole.folder.rglob("*") if file.is_file())
    lost: list[str] = []
    with small_disk(place, "1m") as mounted:
        if not mounted:
            return 0, "not tried: mounting a file system in memory is refused here", ()
        study = FaultyStudy(place / "study", data)
        for share in SHARES:
            _mounted(place, f"remount,size={int(needed * share) >> 10}k")
            lost += _full(study, share)
        _mounted(place, f"remount,size={3 * needed >> 10}k")
        if study.run("--resume") != 0:
            lost.append(f"after the disk has grown: {study.said()}")
        expected, found = whole.results(), study.results()
        lost += [f"{name} differs" for name in expected if expected[name] != found.get(name)]
    survived = "what was whole; exit code 2 and one line; the rest was made on a larger disk"
    return len(SHARES), survived, tuple(lost)


def _full(study: FaultyStudy, share: float) -> list[str]:
    rounds, stages = study.whole_rounds(), set(study.stages())
    log = study.log
    study.log = study.folder.parents[1] / "full.log"
    code, said = study.run("--resume"), study.said()
    study.log = log
    lost = []
    if code != 2 or "error: " not in said or "space" not in said or "--resume" not in said:
        lost.append(f"at {share:.0%} of the space: code {code}, {said}")
    if study.whole_rounds() < rounds or not stages <= set(study.stages()):
        lost.append(f"at {share:.0%} of the space: a whole round or a finished stage is gone")
    return lost


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[bool]:
    """A file system in memory at the folder ``place``; whether it could be mounted."""
    mounted = _mounted(place, f"size={size}")
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)  # a worker may take a moment to end


def _mounted(place: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return os.geteuid() == 0 and not subprocess.run(command, check=False, capture_output=True).returncode
