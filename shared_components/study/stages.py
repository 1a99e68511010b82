"""Run the stages of a study, several at a time, each done once; a failed one ends no more than what needs it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.lane import BEAT
from shared_components.files import lies_in
from shared_components.interrupts import Interrupts
from shared_components.study.stage import Done, Stage
from shared_components.study.stage_places import StagePlaces, StageWorkers
from shared_components.study.study import AUDIT_STAGE, Study
from shared_components.study_record import FailedStage

Ended = Callable[[Stage, InputError | None], None]


def stop_at_failure(stage: Stage, failure: InputError | None) -> None:
    """Let the first stage that fails end all.

    Raises:
        InputError: the failure, with how to go on.
    """
    if failure is not None:
        raise InputError(f"{failure}; mend it and go on with --resume") from failure


def run_stages(
    stages: Sequence[Stage],
    jobs: int,
    threads: int = 1,
    quiet: bool = False,
    digests: FileDigests | None = None,
    check: Callable[[], None] = lambda: None,
    ended: Ended = stop_at_failure,
    fresh: bool = False,
) -> dict[str, float]:
    """Run what is not done yet, ``jobs`` at a time, each as soon as what it needs is done.

    A stage that is done is one whose settings, files and needed stages' outputs are those of before, and whose own
    outputs are all there, unchanged.

    Args:
        stages: all stages; where several could begin, the first does.
        jobs: worker processes.
        threads: torch's threads in each.
        quiet: print nothing.
        digests: of the files that stages read; by default kept nowhere.
        check: called whenever a stage has ended, to raise if nothing more can be kept.
        ended: called then as well, with the stage's failure, which names it and its log, or None. Where it returns, a
            failure stops the stages that need the failed one, and no others; by default it raises.
        fresh: give every stage a process of its own.
    Returns:
        Stage key to seconds it took, of all that are done, also before.
    Raises:
        InputError: what ``check`` or ``ended`` raises, by default the first failure. Stages that ended stay done.
        ValueError: a stage needs one that is not among ``stages``, or itself.
    """
    interrupts = Interrupts()
    with interrupts.noticed(), StageWorkers(jobs, threads, fresh, digests) as workers:
        return StageRun(workers, stages, quiet, check, ended, interrupts.check).go_on()


class StageRun:
    """Stages that run as in :func:`run_stages`, wherever ``places``, which are ready, let them.

    Args:
        places: where they run.
        stages: all stages.
        quiet: print nothing.
        check: as there.
        ended: as there.
        often: called whenever something has happened, and when nothing has for a while; what it raises ends all.
    """

    def __init__(
        self,
        places: StagePlaces,
        stages: Sequence[Stage],
        quiet: bool = False,
        check: Callable[[], None] = lambda: None,
        ended: Ended = stop_at_failure,
        often: Callable[[], None] = lambda: None,
    ) -> None:
        _check_needs(stages)
        self._places, self._stages, self._quiet = places, stages, quiet
        self._check, self._ended, self._often = check, ended, often
        self._queue = _Queue(stages, places, quiet)
        self._running: dict[Future, Stage] = {}

    def go_on(self) -> dict[str, float]:
        """Run all that is still to do.

        Returns:
            Stage key to seconds it took, of all that are done.
        """
        self._run(None)
        return self._queue.seconds()

    @contextlib.contextmanager
    def beside(self, writes: Sequence[Path]) -> Iterator[None]:
        """While the block is at work, run what reads no file that it, or others after it, are still to write.

        A failure that ends all is told at once and raised at the block's end, which loses nothing of its work.

        Args:
            writes: the folders of such files.
        """
        over, failures = Future[None](), list[BaseException]()

        def run() -> None:
            try:
                self._run(over)
            except BaseException as error:
                failures.append(error)
                _tell(str(error), self._quiet)

        self._queue.held = frozenset(stage.key for stage in self._stages if _reads(stage, writes))
        thread = threading.Thread(target=run, name="stages")
        thread.start()
        try:
            yield
        finally:
            over.set_result(None)
            thread.join()
            self._queue.held = frozenset()
        if failures:
            raise failures[0]

    def _run(self, over: Future | None) -> None:
        """Until nothing can run any more, or, with ``over``, until that is done, whatever is at work then."""
        queue, running = self._queue, self._running
        with tqdm(
            total=len(self._stages), desc="stages", disable=True if self._quiet else None, ncols=100
        ) as bar:
            while over is None or not over.done():
                self._often()
                for stage, before in queue.next(list(running.values())):
                    running[self._places.begin(stage, before)] = stage
                    _tell(f"{stage.key}: begins", self._quiet)
                bar.update(len(queue.done) - bar.n)
                awaited = [*running, *([over] if over else [])]
                if not awaited:
                    return
                finished = wait(awaited, timeout=BEAT, return_when=FIRST_COMPLETED).done - {over}
                for stage in () if finished else running.values():
                    _tell(f"{stage.key}: {self._places.progress(stage)}", self._quiet)
                for future in finished:
                    self._end(future)

    def _end(self, future: Future[Done]) -> None:
        """Note a stage that has ended."""
        self._often()  # a signal to all processes may have ended the worker first
        stage = self._running.pop(future)
        failure = _failure(stage, future, self._places)
        self._check()
        if failure is None:
            self._queue.done[stage.key] = future.result()
        self._ended(stage, failure)
        _tell(str(failure or self._queue.told(stage)), self._quiet)


def done_stages(stages: Sequence[Stage], digests: FileDigests | None = None) -> dict[str, float]:
    """Stage key to seconds of those that are done, as :func:`run_stages` finds them; nothing runs.

    Args:
        stages: all that these need among them.
        digests: of the files that stages read; by default kept nowhere.
    """
    queue = _Queue(stages, StageWorkers(0, 1, digests=digests), quiet=True)
    queue.next([])
    return queue.seconds()


class _Queue:
    """Stages that are still to begin, and those that are done.

    Args:
        stages: all.
        places: where they run.
        quiet: print nothing.
    """

    def __init__(self, stages: Sequence[Stage], places: StagePlaces, quiet: bool) -> None:
        self._order = {stage.key: place for place, stage in enumerate(stages)}
        self._waiting, self._places, self._quiet = list(stages), places, quiet
        self._to_do: list[Stage] = []
        self.done: dict[str, Done] = {}
        self.held: frozenset[str] = frozenset()  # keys of stages that must not begin yet

    def next(self, running: Sequence[Stage]) -> list[tuple[Stage, list[str]]]:
        """Stages that can begin beside those at work, with what those that they need have written, as digests;
        whatever is done already is noted.
        """
        while self._sort_ready():
            pass
        self._to_do.sort(key=lambda stage: self._order[stage.key])
        begun: list[Stage] = []
        for stage in self._to_do:
            if self._places.is_free(stage, [*running, *begun]):
                begun.append(stage)
        self._to_do = [stage for stage in self._to_do if stage not in begun]
        return [(stage, self._before(stage)) for stage in begun]

    def _before(self, stage: Stage) -> list[str]:
        return [self.done[need].outputs for need in stage.needs]

    def seconds(self) -> dict[str, float]:
        """What each stage took that is done, in the order of all."""
        return {key: self.done[key].seconds for key in self._order if key in self.done}

    def told(self, stage: Stage) -> str:
        """A line on a stage that is done."""
        count = f"({len(self.done)} of {len(self._order)})"
        return f"{stage.key}: done in {self.done[stage.key].seconds:.0f} s {count}"

    def _sort_ready(self) -> bool:
        """Tell of the stages whose needs are done which are done themselves; whether there was one."""
        free = [stage for stage in self._waiting if stage.key not in self.held]
        ready = [stage for stage in free if all(need in self.done for need in stage.needs)]
        for stage in ready:
            self._waiting.remove(stage)
            done = self._places.found(stage, self._before(stage))
            if done is None:
                self._to_do.append(stage)
                self._tell_lost(stage)
            else:
                self.done[stage.key] = done
        return bool(ready)

    def _tell_lost(self, stage: Stage) -> None:
        lost = stage.lost()
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            _tell(
                f"{stage.key}: {lost[0]}{more} is not what the stage has written; it runs again", self._quiet
            )


def _tell(line: str, quiet: bool) -> None:
    """A line above the bar, at once also where a file or a pipe reads it."""
    if not quiet:
        tqdm.write(line)
        sys.stdout.flush()


def _reads(stage: Stage, folders: Sequence[Path]) -> bool:
    return any(lies_in(file, folder) for file in stage.reads for folder in folders)


def _check_needs(stages: Sequence[Stage]) -> None:
    found: set[str] = set()
    left = list(stages)
    while left:
        ready = {stage.key for stage in left if found.issuperset(stage.needs)}
        if not ready:
            needs = sorted({need for stage in left for need in stage.needs} - found)
            raise ValueError(
                f"stages {', '.join(s.key for s in left)}: expected stages that come before them, "
                f"found none that ends: {', '.join(needs)}"
            )
        found |= ready
        left = [stage for stage in left if stage.key not in found]


def _failure(stage: Stage, future: Future, places: StagePlaces) -> InputError | None:
    error = future.exception()
    if error is None:
        return None
    failure = InputError(f"{stage.key}: {error} (more in {places.log(stage)})")
    failure.__cause__ = error
    return failure


class FailedStages:
    """Told whenever a stage has ended, see :func:`run_stages`.

    What a client that adapts makes is its own; nobody else's model waits for it, nor for any client's audit of the
    factory. Another failure of a labelled client, or one of a stage that is everybody's, ends the study: others go on
    from what it makes.

    Args:
        study: whose stages they are.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._failed: list[tuple[Stage, InputError]] = []

    def __call__(self, stage: Stage, failure: InputError | None) -> None:
        """Note a failure.

        Raises:
            InputError: the failure, if the study makes no sense without the stage.
        """
        if failure is None:
            return
        if stage.client not in self._study.targets and stage.name != AUDIT_STAGE:
            stop_at_failure(stage, failure)
        self._failed.append((stage, failure))

    def told(self, stages: Sequence[Stage], done: Collection[str]) -> dict[str, Any]:
        """Fields of the study's record: nothing where all is done.

        Args:
            stages: all of the study's.
            done: keys of those that are done.
        """
        failed = [FailedStage(stage.client, stage.name, str(failure)) for stage, failure in self._failed]
        keys = {stage.key for stage, _ in self._failed} | set(done)
        waiting = [stage.key for stage in stages if stage.key not in keys]
        return {"failed": tuple(failed), "waiting": tuple(waiting)} if failed else {}

    def check(self) -> None:
        """Once the report is written: say what is not in it.

        Raises:
            InputError: a stage has failed.
        """
        if self._failed:
            clients = ", ".join(dict.fromkeys(stage.client for stage, _ in self._failed))
            name = self._study.federation.name
            head = f"{name}: the report is written without what failed at {clients}; mend it and go on with --resume:"
            raise InputError("\n".join([head, *(f"  {failure}" for _, failure in self._failed)]))
