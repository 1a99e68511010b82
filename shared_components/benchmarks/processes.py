"""Jobs of several processes each, a few jobs at a time, every process run to its end once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared_components.errors import InputError
from shared_components.files import remove_tree, write_text
from shared_components.records import found_record, write_record

REPOSITORY = Path(__file__).resolve().parents[2]
DONE = "done.json"
BEGUN = "begun.txt"
LOG = "log.txt"


@dataclass(frozen=True)
class Step:
    """One process; its working directory is the repository.

    Attributes:
        command: program and arguments.
        folder: where it writes, and nobody else: emptied before it starts, with its output in ``log.txt``.
        fingerprint: changes when the step would do something else.
        files: text files put into the folder before it starts, name to content.
        resumes: the program goes on with what it has left itself, so that this is kept.
    """

    command: tuple[str, ...]
    folder: Path
    fingerprint: str
    files: tuple[tuple[str, str], ...] = ()
    resumes: bool = False

    def seconds(self) -> float | None:
        """How long it took; None when it is still to do, or was something else."""
        noted = found_record(self.folder / DONE) or {}
        return noted["seconds"] if noted.get("fingerprint") == self.fingerprint else None

    def prepare(self) -> None:
        """Make the folder ready; what an interrupted or outdated run has left is thrown away."""
        begun = self.folder / BEGUN
        if not (self.resumes and begun.is_file() and begun.read_text(encoding="utf-8") == self.fingerprint):
            remove_tree(self.folder)
        for name, text in ((BEGUN, self.fingerprint), *self.files):
            write_text(self.folder / name, text)


@dataclass(frozen=True)
class Job:
    """Steps that follow one another.

    Attributes:
        name: for progress and failures.
        steps: each needs those before it.
    """

    name: str
    steps: tuple[Step, ...]

    def is_done(self) -> bool:
        """Whether nothing of it is left to do."""
        return all(step.seconds() is not None for step in self.steps)


def run_jobs(jobs: Sequence[Job], workers: int, ended: Callable[[Job, str | None], None]) -> dict[str, str]:
    """Run what is not done yet; a job that fails stops no other.

    Args:
        jobs: in the order in which they begin.
        workers: jobs at a time; each process gets one thread (``OMP_NUM_THREADS``).
        ended: called in this thread after every job, with the reason of its failure or None.
    Returns:
        Names of the jobs that failed, to the last line that the process wrote and its log file.
    """
    failures = {}
    children = _Children()
    pool = ThreadPoolExecutor(max(workers, 1))
    try:
        futures = {pool.submit(_run, job, children): job for job in jobs if not job.is_done()}
        for future in as_completed(futures):
            job, failure = futures[future], future.result()
            if failure:
                failures[job.name] = failure
            ended(job, failure)
    finally:
        children.stop()
        pool.shutdown(cancel_futures=True)
    return failures


def _run(job: Job, children: _Children) -> str | None:
    """Do the job's steps; why it failed, or None."""
    redo = False
    for step in job.steps:
        if redo or step.seconds() is None:
            redo = True  # later steps read what this one writes
            code = _do(step, children)
            if code:
                return f"{_last_line(step.folder / LOG) or f'exit code {code}'} (log: {step.folder / LOG})"
    return None


def _do(step: Step, children: _Children) -> int:
    step.prepare()
    start = time.perf_counter()
    with (step.folder / LOG).open("wb") as log:
        code = children.run(step.command, log.fileno())
    if not code:
        noted = {"fingerprint": step.fingerprint, "seconds": round(time.perf_counter() - start, 1)}
        write_record(step.folder / DONE, noted | {"command": step.command})
    return code


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


class _Children:
    """Processes that threads wait for, and that all end when the work is stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def run(self, command: Sequence[str], output: int) -> int:
        """Run a command in the repository with its output in a file; its exit code."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
        with self._lock:
            if self._stopped:
                return 1
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                close_fds=False,  # a lock on the output folder lasts until the last child has ended
            )
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def stop(self) -> None:
        """End all that run, and let none begin."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this process and the children that it starts within the block.

    Raises:
        InputError: another process, or a child that outlived it, has the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: expected a folder that nobody writes to, found a benchmark at work in it; "
                "wait for its processes to end, or name another output folder"
            ) from error
        yield
