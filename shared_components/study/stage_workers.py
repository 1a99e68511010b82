"""Where the stages of a study run on this machine: worker processes, one stage at a time in each."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from types import TracebackType

from shared_components.federation.lane import Lane
from shared_components.study.stage import Stage
from shared_components.study.stage_run import run_stage

DIED = "the worker process died; it was killed or ran out of memory, in which case fewer jobs may help"


class StageWorkers:
    """Worker processes for a ``with`` block; one that dies takes nothing but the stage that it worked on with it.

    Args:
        jobs: stages at a time.
        threads: torch's threads in each process.
        fresh: give every stage a process of its own, so that none finds what another one has warmed up.
    """

    def __init__(self, jobs: int, threads: int, fresh: bool = False) -> None:
        self._lanes = [Lane(threads, fresh=fresh, died=DIED) for _ in range(jobs)]
        self._latest: dict[Lane, Future] = {}
        self._ending = contextlib.ExitStack()

    def submit(self, stage: Stage, fingerprint: str) -> Future:
        """Let a worker run a stage, in the first that is free, else in the first of all.

        Returns:
            Its future, which gives what was noted when it ended, or raises an InputError.
        """
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
