"""Where the stages of a study run: on this machine, in worker processes, or each at the site that has its data."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from shared_components.errors import InputError, failure_line, os_error_line
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.lane import Lane
from shared_components.one_line_errors import line_of
from shared_components.study.stage import LOG, Done, Stage

DIED = "the worker process died; it was killed or ran out of memory, in which case fewer jobs may help"


class StagePlaces(ABC):
    """Runs stages; for a ``with`` block, at whose end nothing that it has started is left at work."""

    @abstractmethod
    def found(self, stage: Stage, before: Sequence[str]) -> Done | None:
        """What is known here to be done already.

        Args:
            stage: one whose needs are done.
            before: digests of what the stages that it needs have written.
        """

    @abstractmethod
    def is_free(self, stage: Stage, running: Sequence[Stage]) -> bool:
        """Whether a stage can begin beside those at work."""

    @abstractmethod
    def begin(self, stage: Stage, before: Sequence[str]) -> Future[Done]:
        """Run a stage, or find that it is done where it runs."""

    @abstractmethod
    def progress(self, stage: Stage) -> str:
        """How far a stage at work is, in a few words."""

    @abstractmethod
    def log(self, stage: Stage) -> str:
        """Where what a stage has printed is to be found."""

    @abstractmethod
    def __enter__(self) -> StagePlaces:
        """Be ready for stages."""

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is at work, at once if the block failed."""


class StageWorkers(StagePlaces):
    """Worker processes for a ``with`` block; one that dies takes nothing but the stage that it worked on with it.

    Args:
        jobs: stages at a time.
        threads: torch's threads in each process.
        fresh: give every stage a process of its own, so that none finds what another one has warmed up.
        digests: of the files that stages read; by default kept nowhere.
    """

    def __init__(
        self, jobs: int, threads: int, fresh: bool = False, digests: FileDigests | None = None
    ) -> None:
        self._jobs, self._digests = jobs, digests or FileDigests()
        self._lanes = [Lane(threads, fresh=fresh, died=DIED) for _ in range(jobs)]
        self._latest: dict[Lane, Future] = {}
        self._taken = 0
        self._ending = contextlib.ExitStack()

    def found(self, stage: Stage, before: Sequence[str]) -> Done | None:
        return stage.found(self._digests, before)

    def is_free(self, stage: Stage, running: Sequence[Stage]) -> bool:
        return len(running) < self._jobs - self._taken

    @contextlib.contextmanager
    def taken(self, jobs: int) -> Iterator[None]:
        """While the block is at work, so many fewer stages run at a time."""
        self._taken = jobs
        try:
            yield
        finally:
            self._taken = 0

    def progress(self, stage: Stage) -> str:
        return stage.progress()

    def log(self, stage: Stage) -> str:
        return str(stage.folder / LOG)

    def begin(self, stage: Stage, before: Sequence[str]) -> Future[Done]:
        """In the first worker that is free, else in the first of all."""
        fingerprint = stage.fingerprint(self._digests, before)
        free = (lane for lane in self._lanes if lane not in self._latest or self._latest[lane].done())
        lane = next(free, self._lanes[0])
        self._latest[lane] = lane.submit(run_stage, stage, fingerprint)
        return self._latest[lane]

    def __enter__(self) -> StageWorkers:
        for lane in self._lanes:
            self._ending.enter_context(lane)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.__exit__(kind, error, trace)


def run_stage(stage: Stage, fingerprint: str) -> Done:
    """Do a stage's work, its output in ``log.txt``, and note that it is done.

    Raises:
        InputError: it failed; one line with the cause at the bottom of the chain of errors.
    """
    stage.prepare(fingerprint)
    start = time.perf_counter()
    with _output_to(stage.folder / LOG):
        stage.work()
    return stage.note(fingerprint, round(time.perf_counter() - start, 2))


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything this process prints, of C libraries too, goes to a file; a failure with its stack traces.

    What is raised is one line, since the chain of causes does not survive the way to another process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with _opened(path) as file:
        saved = [os.dup(1), os.dup(2)]
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except Exception as error:
            with contextlib.suppress(OSError):  # a full disk may be what it failed of
                traceback.print_exc()
            raise InputError(_cause(error)) from error
        finally:
            for number, descriptor, stream in zip(saved, (1, 2), (sys.stdout, sys.stderr), strict=True):
                with contextlib.suppress(OSError):
                    stream.flush()
                os.dup2(number, descriptor)
                os.close(number)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator:
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise InputError(os_error_line(error) or f"{path}: {error}") from error
    with file:
        yield file


def _cause(error: BaseException) -> str:
    line = line_of(error)
    while line is None and error.__cause__ is not None:
        error = error.__cause__
    text = " ".join((line or failure_line(error)).split())
    return text if len(text) <= 500 else f"{text[:500]} …"
