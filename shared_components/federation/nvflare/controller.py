"""The server's side of a job: the coordinator of the local engine, over clients that NVFlare reaches.

Before round one each client checks its own data and tells counts.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvflare.app_common.workflows.model_controller import ModelController
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from shared_components.errors import InputError, failure_line
from shared_components.federation.aggregators.aggregation import NamedTensors
from shared_components.federation.coordinator import Coordinator
from shared_components.federation.data_check import check_reports
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.deliverable import check_deliverable
from shared_components.federation.nvflare.job_file import read_job
from shared_components.federation.nvflare.message import Message, numbers
from shared_components.federation.nvflare.outcome import RESULT, TOPIC, ProgressLines, write_outcome
from shared_components.federation.nvflare.places import Place, read_server
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.site_check import SiteReport
from shared_components.federation.sites import Answer, Committed, Sites
from shared_components.files import load_tensors, remove_files, write_atomically


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
            failure = failure_line(error)
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


class NvflareSites(Sites):
    """Clients that a controller asks. A site writes its state before it answers.

    Args:
        federation: whose clients they are; nothing of their data is known here.
        asking: reaches them.
        tasks: what the names of the tasks begin with, where a job's sites train more than its own federation.
        values: what they are told with each task.
    """

    def __init__(
        self, federation: Federation, asking: Asking, tasks: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        self._federation, self._asking = federation, asking
        self._tasks, self._values = tasks, dict(values or {})

    def build(self, states: Mapping[str, int]) -> dict[str, Answer]:
        requests = {name: Message({"round": round}) for name, round in states.items()}
        return self._answers("build", requests, "being built")

    def initial_weights(self, client: str) -> Answer:
        return self._answers("initial_weights", {client: Message()}, "being built")[client]

    def train(self, round: int, before: Committed, drawn: Sequence[str]) -> dict[str, Answer]:
        weights = self._federation.exchange.broadcast(before.weights)
        requests = {name: Message({"round": round, "before": before.states[name]}, weights) for name in drawn}
        return self._answers("train", requests, f"round {round}", self._federation.round_timeout)

    def remembered(self, round: int, clients: Sequence[str]) -> None:
        """Nothing is to be waited for."""

    def export(self, committed: Committed, clients: Sequence[str]) -> dict[str, Answer]:
        """Let clients write the deliverable; the one that all share is fetched, each one's own stays at its site."""
        requests = {name: Message({"round": committed.states[name]}, committed.weights) for name in clients}
        shared = not self._federation.make_aggregator().personal
        keep = functools.partial(self._keep_deliverable, weights=committed.weights) if shared else None
        return self._answers("export", requests, "the export", keep=keep)

    def _answers(
        self,
        task: str,
        requests: Mapping[str, Message],
        doing: str,
        timeout: float | None = None,
        keep: Callable[[Message], None] | None = None,
    ) -> dict[str, Answer]:
        told = {name: Message({**self._values, **r.values}, r.tensors) for name, r in requests.items()}
        messages = self._asking.ask(f"{self._tasks}{task}", told, doing, timeout)
        return {name: _answer(message, keep) for name, message in messages.items()}

    def _keep_deliverable(self, message: Message, weights: NamedTensors) -> None:
        """Write the bundle's deliverable, if it has one, where the local engine has it; it is looked at first.

        Raises:
            InputError: it is no file of tensors, or not of the global weights, or there are others.
        """
        place = self._federation.export_path
        if set(message.files) - {place.name}:
            raise InputError(f"expected {place.name} alone, found {', '.join(sorted(message.files))}")
        if message.files:
            write_tensors(place, message.files[place.name], weights)


def _answer(message: Message, keep: Callable[[Message], None] | None = None) -> Answer:
    if message.failure is not None:
        return Answer(failure=message.failure)
    try:
        if keep is not None:
            keep(message)
        return Answer(numbers(message.values), message.tensors)
    except InputError as error:
        return Answer(failure=f"its answer does not count: {error}")


def write_tensors(place: Path, content: bytes, weights: NamedTensors | None = None) -> None:
    """Write a file of tensors that has come from a site, once it can be read without running anything in it.

    Args:
        place: where.
        content: what has come.
        weights: the global ones that it is to hold; None: it is one client's own.
    Raises:
        InputError: it is no such file.
    """
    arrived = place.with_name(f"arrived.{place.name}")
    write_atomically(arrived, lambda temporary: temporary.write_bytes(content))
    try:
        found = load_tensors(arrived)
        if weights is not None:
            check_deliverable(found, weights)
        write_atomically(place, lambda temporary: temporary.write_bytes(content))
    finally:
        remove_files(arrived)


def check_sites(federation: Federation, asking: Asking) -> None:
    """Let every client check its data, and compare what they report.

    Raises:
        InputError: a client did not answer or has faults, or clients differ; every one of them, one a line.
    """
    requests = {name: Message() for name in federation.clients}
    answers = asking.ask("check", requests, "checking their data")
    failures = [
        f"client {name}: {answer.failure}" for name, answer in answers.items() if answer.failure is not None
    ]
    if failures:
        raise InputError("\n".join([f"{federation.name}: the check of the clients' data failed", *failures]))
    reports = {name: SiteReport.from_dict(answer.values, name) for name, answer in answers.items()}
    check_reports(federation, reports)
