"""Runs of a benchmark: stages, as those of a study, of which a failed one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.folder_lock import FolderLock
from shared_components.study.stage import Stage
from shared_components.study.stages import done_stages, run_stages
from shared_components.worker_processes import start_quiet_tracker


class Runs:
    """The folder of a benchmark, in which everything is run once.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._lock, self._digests = FolderLock(folder), FileDigests(folder / "digests.json")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of the folder.

        Raises:
            InputError: another one runs there.
        """
        start_quiet_tracker()  # before whoever makes the phantoms starts one that is not
        with self._lock.held():
            yield
            self._digests.keep()

    def done(self, stages: Sequence[Stage]) -> dict[str, float]:
        """Stage key to seconds of those that are done."""
        return done_stages(stages, self._digests)

    def run(
        self, stages: Sequence[Stage], jobs: int = 1, ended: Callable[[Stage], None] = lambda stage: None
    ) -> list[InputError]:
        """Run what is not done yet, each in a process of its own and one thread, so that their times compare.

        Args:
            stages: in the order in which they begin.
            jobs: stages at a time.
            ended: called after every stage that is done.
        Returns:
            The failures.
        """
        failures: list[InputError] = []

        def note(stage: Stage, failure: InputError | None) -> None:
            if failure is None:
                ended(stage)
            else:
                failures.append(failure)

        run_stages(stages, jobs, digests=self._digests, check=self._lock.check, ended=note, fresh=True)
        return failures


def check_failures(failures: Sequence[InputError]) -> None:
    """Tell of failed runs.

    Raises:
        InputError: there are some.
    """
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures)
        number = "1 run" if len(failures) == 1 else f"{len(failures)} runs"
        raise InputError(f"{number} failed; mend and run again, finished ones are kept:\n{listed}")
