"""Run a study from the factory to its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared_components.federation.federation import Federation
from shared_components.federation.nvflare import require_nvflare
from shared_components.interrupts import Interrupts
from shared_components.study.client_stages import study_stages
from shared_components.study.data_watch import DataWatch
from shared_components.study.federated_run import OpenedStudy, by_engine, opened_study
from shared_components.study.findings import tell_study
from shared_components.study.roles import plan_study
from shared_components.study.stage import Stage
from shared_components.study.stage_places import StageWorkers
from shared_components.study.stages import FailedStages, StageRun
from shared_components.study.study import EVERYBODY, Study


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
        require_nvflare()
        from shared_components.study.nvflare.controller import StudySimulator

        return StudySimulator(federation, quiet).run(resume, force)
    study = plan_study(federation)
    stages = study_stages(study)
    with opened_study(study, stages, resume, force) as opened:
        failed, watch = FailedStages(study), DataWatch(federation.clients, opened.digests)
        seconds = _all_trained(study, stages, opened, failed, quiet)
        more = failed.told(stages, seconds) | watch.told()
        opened.digests.keep()
        report = tell_study(study, stages, seconds, quiet, more)
        failed.check()
        return report


def _all_trained(
    study: Study, stages: Sequence[Stage], opened: OpenedStudy, failed: FailedStages, quiet: bool
) -> dict[str, float]:
    """Run the federated trainings, stages that need none of them on the cores that these leave, and all the others.

    Returns:
        Stage key to seconds, the federated trainings' first.
    """
    interrupts, left, seconds = Interrupts(), dict(opened.runs), dict[str, float]()
    with (
        interrupts.noticed(),
        StageWorkers(study.jobs, study.threads, digests=opened.digests) as workers,
    ):
        run = StageRun(workers, stages, quiet, opened.lock.check, failed, interrupts.check)
        for name, training in opened.runs.items():
            writes = [one.folder.root for one in left.values()]
            with workers.taken(study.jobs_taken(training.federation)), run.beside(writes):
                seconds[f"{EVERYBODY}/{name}"] = training.train(by_engine(quiet))
            del left[name]
        return seconds | run.go_on()
