"""Run a study from the factory to its report."""

from __future__ import annotations

from pathlib import Path

from shared_components.federation.federation import Federation
from shared_components.federation.nvflare import require_nvflare
from shared_components.study.client_stages import study_stages
from shared_components.study.federated_run import by_engine, opened_study
from shared_components.study.findings import tell_study
from shared_components.study.roles import plan_study
from shared_components.study.stages import FailedStages, run_stages
from shared_components.study.study import EVERYBODY


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
        go_on, failed = by_engine(quiet), FailedStages(study)
        seconds = {f"{EVERYBODY}/{name}": run.train(go_on) for name, run in opened.runs.items()}
        seconds |= run_stages(
            stages,
            study.jobs,
            study.threads,
            quiet,
            digests=opened.digests,
            check=opened.lock.check,
            ended=failed,
        )
        opened.digests.keep()
        report = tell_study(study, stages, seconds, quiet, failed.told(stages, seconds))
        failed.check()
        return report
