"""Run the stages of a study, several at a time, each done once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.signs_of_life import BEAT
from shared_components.interrupts import Interrupts
from shared_components.study.stage import LOG, Done, Stage
from shared_components.study.stage_progress import stage_progress
from shared_components.study.stage_run import run_stage
from shared_components.worker_processes import WorkerProcesses


def run_stages(
    stages: Sequence[Stage],
    jobs: int,
    threads: int = 1,
    quiet: bool = False,
    digests: FileDigests | None = None,
    check: Callable[[], None] = lambda: None,
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
    Returns:
        Stage key to seconds it took, also of those done before.
    Raises:
        InputError: a stage failed; the message names it and its log. Stages that ended stay done.
        ValueError: a stage needs one that is not among ``stages``, or itself.
    """
    _check_needs(stages)
    queue = _Queue(stages, digests or FileDigests(), quiet)
    running: dict[Future, Stage] = {}
    interrupts = Interrupts()
    bar = tqdm(total=len(stages), desc="stages", disable=True if quiet else None, ncols=100)
    with bar, interrupts.noticed(), WorkerProcesses(jobs, threads) as pool:
        while True:
            interrupts.check()
            for stage, fingerprint in queue.next(jobs - len(running)):
                running[pool.submit(run_stage, stage, fingerprint)] = stage
                _tell(f"{stage.key}: begins", quiet)
            bar.update(len(queue.done) - bar.n)
            if not running:
                return {stage.key: queue.done[stage.key].seconds for stage in stages}
            ended = wait(running, timeout=BEAT, return_when=FIRST_COMPLETED).done
            for stage in () if ended else running.values():
                _tell(f"{stage.key}: {stage_progress(stage.folder)}", quiet)
            for future in ended:
                interrupts.check()  # a signal to all processes may have ended the worker first
                done, stage = _result(future, running), running.pop(future)
                check()
                queue.done[stage.key] = done
                count = f"({len(queue.done)} of {len(stages)})"
                _tell(f"{stage.key}: done in {done.seconds:.0f} s {count}", quiet)


class _Queue:
    """Stages that are still to begin, and those that are done.

    Args:
        stages: all.
        digests: of the files that they read.
        quiet: print nothing.
    """

    def __init__(self, stages: Sequence[Stage], digests: FileDigests, quiet: bool) -> None:
        self._order = {stage.key: place for place, stage in enumerate(stages)}
        self._waiting, self._digests, self._quiet = list(stages), digests, quiet
        self._to_do: list[tuple[Stage, str]] = []
        self.done: dict[str, Done] = {}

    def next(self, most: int) -> list[tuple[Stage, str]]:
        """Up to ``most`` stages that can begin, with their fingerprints; whatever is done already is noted."""
        while self._sort_ready():
            pass
        self._to_do.sort(key=lambda entry: self._order[entry[0].key])
        begun, self._to_do = self._to_do[:most], self._to_do[most:]
        return begun

    def _sort_ready(self) -> bool:
        """Tell of the stages whose needs are done which are done themselves; whether there was one."""
        ready = [stage for stage in self._waiting if all(need in self.done for need in stage.needs)]
        for stage in ready:
            self._waiting.remove(stage)
            fingerprint = stage.fingerprint(self._digests, [self.done[need].outputs for need in stage.needs])
            done = stage.done(fingerprint)
            if done is None:
                self._to_do.append((stage, fingerprint))
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


def _result(future: Future, running: Mapping[Future, Stage]) -> Done:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):  # every running stage ends so; which one died is not told
        names = " or ".join(stage.key for stage in running.values())
        logs = ", ".join(str(stage.folder / LOG) for stage in running.values())
        raise InputError(
            f"{names}: the worker process died; it was killed or ran out of memory, in which case fewer "
            f"study: jobs may help (more in {logs}); go on with --resume"
        ) from error
    stage = running[future]
    raise InputError(
        f"{stage.key}: {error} (more in {stage.folder / LOG}); mend it and go on with --resume"
    ) from error
