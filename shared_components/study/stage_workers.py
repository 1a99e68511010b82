"""Where the stages of a study run on this machine: worker processes, one stage at a time in each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType

from shared_components.federation.file_digests import FileDigests
from shared_components.federation.lane import Lane
from shared_components.study.stage import LOG, Done, Stage
from shared_components.study.stage_places import StagePlaces
from shared_components.study.stage_run import run_stage

DIED = "the worker process died; it was killed or ran out of memory, in which case fewer jobs may help"


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
        self._ending = contextlib.ExitStack()

    def found(self, stage: Stage, before: Sequence[str]) -> Done | None:
        return stage.done(stage.fingerprint(self._digests, before))

    def is_free(self, stage: Stage, running: Sequence[Stage]) -> bool:
        return len(running) < self._jobs

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
