"""Run a study from the factory to its report."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.engine import resumable
from shared_components.federation.federation import Federation
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.folder_lock import FolderLock
from shared_components.files import remove_tree, sweep
from shared_components.study.client_stages import study_stages
from shared_components.study.federated_run import FederatedRun, by_engine, federated_runs
from shared_components.study.findings import tell_study
from shared_components.study.roles import plan_study
from shared_components.study.stage import Stage
from shared_components.study.stages import run_stages, stop_at_failure
from shared_components.study.study import AUDIT_STAGE, EVERYBODY, Study
from shared_components.study_record import FILE_NAME, FailedStage


def run_study(federation: Federation, resume: bool = False, force: bool = False, quiet: bool = False) -> Path:
    """Run the whole flow and write the report, with the study's folder locked from before anything is removed.

    Args:
        federation: with the factory's bundle and a ``study`` section.
        resume: go on with what is there; finished stages are kept unless what they depend on has changed.
        force: throw away what is there and start over.
        quiet: print nothing.
    Returns:
        The report.
    Raises:
        InputError: the settings do not fit, the folder holds a study and neither ``resume`` nor ``force`` is given,
            another process runs in it, or a client, a round or a stage failed; where it is a stage of a client that
            adapts, the others' have been done all the same, and the report is there.
    """
    if federation.engine != "local":
        from shared_components.study.nvflare.simulator import StudySimulator  # an extra

        return StudySimulator(federation, quiet).run(resume, force)
    study = plan_study(federation)
    stages = study_stages(study)
    with opened_study(study, stages, resume, force) as opened:
        go_on, failed = by_engine(quiet), FailedStages(study)
        seconds = {f"{EVERYBODY}/{name}": run.train(go_on) for name, run in opened.runs.items()}
        seconds |= run_stages(
            stages,
            study.jobs,
            federation.threads_per_worker,
            quiet,
            digests=opened.digests,
            check=opened.lock.check,
            ended=failed,
        )
        opened.digests.keep()
        report = tell_study(study, stages, seconds, quiet, failed.told(stages, seconds))
        failed.check()
        return report


@dataclass(frozen=True)
class OpenedStudy:
    """A study's folder, ready and locked.

    Attributes:
        lock: of the study's folder.
        runs: its federated trainings by the names of their stages, opened and locked too.
        digests: of files that stages read.
    """

    lock: FolderLock
    runs: Mapping[str, FederatedRun]
    digests: FileDigests


@contextlib.contextmanager
def opened_study(
    study: Study, stages: Sequence[Stage], resume: bool, force: bool, more: Sequence[Path] = ()
) -> Iterator[OpenedStudy]:
    """Make a study's folder ready, and keep it locked.

    Args:
        study: whose folder.
        stages: all of them.
        resume: go on with what is there.
        force: throw it away.
        more: further folders to be thrown away with it.
    """
    runs, lock = federated_runs(study), FolderLock(study.folder)
    with contextlib.ExitStack() as stack:
        for one in (lock, *(run.folder.lock for run in runs.values())):
            stack.enter_context(one.held())
        stack.enter_context(resumable(study.folder))
        digests = FileDigests(study.folder / "digests.json")
        for run in runs.values():
            run.open(resume, force, digests)
        _clean(study, [*(stage.folder for stage in stages), *more] if force else ())
        yield OpenedStudy(lock, runs, digests)


def _clean(study: Study, folders: Sequence[Path]) -> None:
    """Remove what a kill has left, some folders, and what an earlier end of the study has told."""
    sweep(study.folder)
    for folder in (*folders, study.folder / FILE_NAME):
        remove_tree(folder)


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
