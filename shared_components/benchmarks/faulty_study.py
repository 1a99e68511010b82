"""The smallest study, as a process that can be killed, what it leaves behind, and disks on which it has no room."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shared_components.benchmarks import REPOSITORY, SCRIPTS
from shared_components.federation.file_digests import digest
from shared_components.files import load_tensors, make_folder, write_text
from shared_components.records import read_table

LONGEST = 900.0  # s that the smallest study may take; after that it hangs
RESULTS = (
    "factory/global.pt",
    "factory/factory.pt",
    "**/model.pt",
    "**/*.nii.gz",
    "**/scores.csv",
    "**/metrics.csv",
)
"""What a study is run for, and what must be the same however often it was broken."""
SHARES = (0.05, 0.35, 0.8)  # of what the study needs


class FaultyStudy:
    """The quickstart's study at its smallest sizes, in a folder of its own.

    Args:
        folder: where it writes.
        data: the phantoms of ``make_phantoms``.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.file = write_text(folder.parent / f"{folder.name}.yaml", _federation(folder, data))
        self.log = folder.parent / f"{folder.name}.log"

    def start(self, *arguments: str) -> subprocess.Popen:
        """``federate.py study`` with some arguments, in a session of its own; its output goes to ``log``."""
        command = [
            sys.executable,
            str(SCRIPTS / "federate.py"),
            "study",
            str(self.file),
            "--nocheck",
            *arguments,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, *arguments: str) -> int | None:
        """The exit code of ``start`` once it has ended; None where it hung, and was killed."""
        process = self.start(*arguments)
        if not wait_until(lambda: process.poll() is not None, LONGEST):
            kill(process)  # its workers end with it
            return None
        return process.returncode

    def said(self) -> str:
        """The last line that the process wrote."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def results(self) -> dict[str, str | None]:
        """File to digest of what the study is run for, and of its rounds but for their seconds."""
        files = {file for pattern in RESULTS for file in self.folder.glob(pattern)}
        found = {file.relative_to(self.folder).as_posix(): digest(file) for file in files}
        table = self.folder / "factory" / "rounds.csv"
        if table.is_file():
            rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_table(table, "")]
            found["factory/rounds.csv"] = hashlib.sha256(str(rows).encode()).hexdigest()
        return found

    def whole_rounds(self) -> int:
        """Rounds of the factory that are whole."""
        file = self.folder / "factory" / "global.pt"
        return load_tensors(file)["round"] if file.is_file() else 0

    def stages(self) -> list[Path]:
        """Folders of the stages that are done."""
        return sorted(file.parent for file in self.folder.glob("clients/*/*/done.json"))


def make_phantoms(data: Path) -> None:
    """Three clients' phantoms at the smallest sizes."""
    command = [
        sys.executable,
        str(SCRIPTS / "phantoms.py"),
        "heads",
        "--output_dir",
        str(data),
        "--subjects",
        "2,1,1",
    ]
    subprocess.run([*command, "--coarseness", "3"], check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def _federation(folder: Path, data: Path) -> str:
    text = (SCRIPTS / "quickstart_smoke.yaml").read_text(encoding="utf-8")
    text = text.replace("outputs/quickstart-smoke/data", str(data.resolve()))
    return text.replace("output_dir: outputs/quickstart-smoke", f"output_dir: {folder.resolve()}")


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
    """Send a signal to the process alone, as a system out of memory does, and wait for its end."""
    process.send_signal(number)
    process.wait()


def seconds_until_alone(process: subprocess.Popen, longest: float = 60.0) -> float:
    """How long others of a process's session have outlived it, s."""
    start = time.perf_counter()
    wait_until(lambda: not _session_members(process.pid), longest)
    return time.perf_counter() - start


def wait_until(condition: Callable[[], bool], longest: float) -> bool:
    """Look every few milliseconds; whether it came true within ``longest`` seconds."""
    end = time.perf_counter() + longest
    while time.perf_counter() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _session_members(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


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
