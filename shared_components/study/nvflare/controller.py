"""The server's side of a study's job: the factory's rounds, then every stage where its data are, then the report.

``StudySimulator`` rehearses it on one machine, every site in a folder of its own.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.controller import FederationController, check_sites
from shared_components.federation.nvflare.job import JobKind, write_job
from shared_components.federation.nvflare.job_file import read_job, read_parts
from shared_components.federation.nvflare.message import Message
from shared_components.federation.nvflare.outcome import RESULT
from shared_components.federation.nvflare.places import Place
from shared_components.federation.nvflare.simulator import LOST_AFTER, client_places, rehearse
from shared_components.study.client_data import SiteDescription
from shared_components.study.client_stages import study_stages
from shared_components.study.federated_run import OpenedStudy, federated_runs, opened_study
from shared_components.study.findings import tell_study
from shared_components.study.nvflare.site_places import SitePlaces, SiteTrainings
from shared_components.study.nvflare.study_job import (
    FACTORY,
    job_parts,
    place_study,
    site_stages,
)
from shared_components.study.roles import plan_study, unseen_roots
from shared_components.study.stage import Stage
from shared_components.study.stages import FailedStages, StageRun
from shared_components.study.study import EVERYBODY, Study
from shared_components.study_record import FILE_NAME

NOT_FETCHED = ("lock", "digests.json", "exchange", "nvflare", "sites")
SITES = "sites"  # in the study's folder: a folder for each site, which has all that never leaves it


def study_kind(federation: Federation) -> JobKind:
    """What a federation is submitted for when it is a study.

    Raises:
        InputError: see :func:`job_parts`.
    """
    parts, ends = job_parts(federation), (FILE_NAME, "report.html")
    return JobKind(StudyController, parts, ends, unseen_roots(federation, parts.guests))


class StudyController(FederationController):
    """Runs a whole study on the server of a job, where no data root is known; arguments as of its base."""

    def run_job(self) -> None:
        place, asking = self.place(), self.asking()
        federation, parts = read_job(self.custom(), place), read_parts(self.custom())
        described = _describe([*federation.clients, *parts.guests], asking)
        study = place_study(federation, parts, described)
        stages = site_stages(study)
        with self._study(study, stages, place) as opened:
            if opened.runs[FACTORY].is_new or not place.rehearsal:
                check_sites(federation, asking)
            try:
                self._run(study, stages, opened, described)
            finally:
                if not place.rehearsal:
                    ignored = shutil.ignore_patterns(*NOT_FETCHED)
                    shutil.copytree(study.folder, Path(self.get_run_dir()) / RESULT, ignore=ignored)

    def _run(self, study: Study, stages: list[Stage], opened: OpenedStudy, described: dict[str, Any]) -> None:
        asking = self.asking()
        trainings = SiteTrainings(study, described, asking, self.quiet)
        seconds = {f"{EVERYBODY}/{name}": run.train(trainings.go_on) for name, run in opened.runs.items()}
        failed = FailedStages(study)
        with SitePlaces(study, stages, described, self.asking, opened.digests) as places:
            run = StageRun(places, stages, self.quiet, ended=failed, often=asking.check)
            seconds |= run.go_on()
        opened.digests.keep()
        more = {"exchange": (*trainings.sent, *places.sent), "engine": "nvflare"}
        tell_study(study, stages, seconds, self.quiet, more | failed.told(stages, seconds))
        failed.check()

    @contextlib.contextmanager
    def _study(self, study: Study, stages: list[Stage], place: Place) -> Iterator[OpenedStudy]:
        """The study's folder; who starts a rehearsal has opened and locked it, and keeps it so."""
        if not place.rehearsal:
            with opened_study(study, stages, self.resume, self.force) as opened:
                yield opened
            return
        runs = federated_runs(study)
        for run in runs.values():
            run.go_on_with(run.folder.committed())
        digests = FileDigests(study.folder / "server_digests.json")
        yield OpenedStudy(FolderLock(study.folder), runs, digests)


def _describe(sites: Sequence[str], asking: Asking) -> dict[str, Any]:
    """Site to the description of its data, as plain values.

    Raises:
        InputError: a client has none to give.
    """
    answers = asking.ask("describe", dict.fromkeys(sites, Message()), "telling what they have")
    for name, answer in answers.items():
        if answer.failure is not None:
            raise InputError(f"client {name}, the description of its data: {answer.failure}")
    return {
        name: SiteDescription.from_dict(answer.values, name).as_dict() for name, answer in answers.items()
    }


class StudySimulator:
    """Rehearses a study of real sites on one machine.

    Args:
        federation: with the factory's bundle and a ``study`` section.
        quiet: print nothing.
    """

    def __init__(self, federation: Federation, quiet: bool = False) -> None:
        self._federation, self._quiet = federation, quiet

    def run(self, resume: bool = False, force: bool = False) -> Path:
        """Run what is still to do.

        Args:
            resume: go on with the study in the output folder.
            force: throw it away.
        Returns:
            The report.
        Raises:
            InputError: see :func:`run_study`, or NVFlare did not run the job to its end.
        """
        parts, study = job_parts(self._federation), plan_study(self._federation)
        folders = {name: study.folder / SITES / name for name in (*self._federation.clients, *parts.guests)}
        sites = client_places(self._federation, folders)
        for name, roots in unseen_roots(self._federation).items():
            sites.append(Place(name, str(folders[name]), roots, rehearsal=True))
        controller = StudyController(quiet=self._quiet, lost_after=LOST_AFTER)
        with opened_study(study, study_stages(study), resume, force, [study.folder / SITES]):
            rehearse(
                lambda folder: write_job(self._federation, folder, controller, parts), sites, study.folder
            )
        return study.folder / "report.html"
