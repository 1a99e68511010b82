"""A study through NVFlare's simulator: every site on this machine, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.places import Place
from shared_components.federation.nvflare.requirement import require_nvflare
from shared_components.federation.nvflare.simulator import LOST_AFTER, client_places, rehearse
from shared_components.study.client_stages import study_stages
from shared_components.study.nvflare.study_job import job_parts
from shared_components.study.roles import plan_study
from shared_components.study.runner import opened_study
from shared_components.study.unseen import unseen_roots

SITES = "sites"  # in the study's folder: a folder for each site, which has all that never leaves it


class StudySimulator:
    """Rehearses a study of real sites on one machine.

    Args:
        federation: with the factory's bundle and a ``study`` section.
        quiet: print nothing.
    """

    def __init__(self, federation: Federation, quiet: bool = False) -> None:
        require_nvflare()
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
        from shared_components.federation.nvflare.job import write_job
        from shared_components.study.nvflare.controller import StudyController

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
