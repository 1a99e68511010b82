"""The server's side of a job: the coordinator of the local engine, over clients that NVFlare reaches."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from nvflare.app_common.workflows.model_controller import ModelController
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from shared_components.errors import InputError
from shared_components.federation.coordinator import Coordinator
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.job_file import read_job
from shared_components.federation.nvflare.nvflare_sites import NvflareSites
from shared_components.federation.nvflare.outcome import RESULT, write_outcome
from shared_components.federation.nvflare.places import Place, read_server
from shared_components.federation.nvflare.preflight import check_sites
from shared_components.federation.nvflare.progress_lines import TOPIC, ProgressLines
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed


class FederationController(ModelController):
    """Runs a federation's rounds on the server of a job.

    The run's folder lies outside the job, so that a job that is submitted again goes on from the last whole round.

    Args:
        resume: go on with the run that the server has of this federation.
        force: throw it away.
        quiet: print nothing.
        lost_after: seconds without a sign of life after which a client is left out.
    """

    def __init__(
        self, resume: bool = False, force: bool = False, quiet: bool = False, lost_after: float = 10.0
    ) -> None:
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=0.1)
        self.resume, self.force, self.quiet, self.lost_after = resume, force, quiet, lost_after

    def run(self) -> None:
        """Called by NVFlare, in a thread of the server's job process."""
        fobs.register(TensorDecomposer)  # else no tensor that a client sends can be read
        failure: str | None = "the server's process ended before its time"
        lines = ProgressLines()
        self.engine.register_app_command(TOPIC, lines.since)
        try:
            with lines.kept():
                self.run_job()
            failure = None
        except InputError as error:
            failure = str(error)
            self.panic(failure)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            write_outcome(Path(self.get_run_dir()), failure)
            with contextlib.suppress(InputError):  # such as a full disk: most of them have been told
                lines.write(Path(self.get_run_dir()))

    def run_job(self) -> None:
        """What this job is for: its federation's rounds.

        Raises:
            InputError: it cannot go on.
        """
        place, custom = self.place(), self.custom()
        federation = read_job(custom, place)
        folder, asking = RunFolder(federation.output_dir), self.asking()
        with self._opened(folder, federation, place) as committed:
            if committed is None or not place.rehearsal:
                check_sites(federation, asking)
            sites = NvflareSites(federation, asking)
            try:
                Coordinator(federation, folder, sites, self.quiet, asking.check).go_on(committed)
            finally:
                if not place.rehearsal:
                    _copy(folder.root, Path(self.get_run_dir()) / RESULT)

    def place(self) -> Place:
        """The server's own."""
        return read_server(Path(self.engine.get_workspace().get_root_dir()))

    def custom(self) -> Path:
        """The job's folder ``custom``."""
        return Path(self.engine.get_workspace().get_app_custom_dir(self.fl_ctx.get_job_id()))

    def asking(self) -> Asking:
        """What asks the clients, from one thread."""
        return Asking(self, self.lost_after, self.quiet)

    @contextlib.contextmanager
    def _opened(self, folder: RunFolder, federation: Federation, place: Place) -> Iterator[Committed | None]:
        """The last whole round; who starts a rehearsal has opened and locked the run's folder, and keeps it so."""
        if place.rehearsal:
            committed = folder.committed()
            yield committed if committed and committed.round else None
            return
        with folder.lock.held():
            yield folder.open(federation, self.resume, self.force)


def _copy(folder: Path, target: Path) -> None:
    """Copy a run's folder to where NVFlare takes the job's results from."""
    if folder.is_dir():
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns("lock", "clients", "digests.json"))
