"""What a site does when the coordinator asks for it, in the worker process in which its client lives.

To let sites do something else, write a function as those below and name it in ``TASKS``, or in those of a module
that the job names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from shared_components.errors import InputError, failure_line, printable
from shared_components.federation import worker
from shared_components.federation.aggregators.aggregation import from_blocks
from shared_components.federation.bundle_workflow import bundle_config, reads_labels
from shared_components.federation.federation import ClientPlan, Federation, client_plan
from shared_components.federation.file_digests import FileDigests, data_changes, data_record, told
from shared_components.federation.nvflare.failures import told_outside
from shared_components.federation.nvflare.job_file import JobParts, read_job, read_parts
from shared_components.federation.nvflare.message import Done, Work
from shared_components.federation.nvflare.places import Place, read_site
from shared_components.federation.sent_record import FAILURE, SentRecord
from shared_components.federation.site_check import FAULTS, site_check
from shared_components.federation.sites import ERROR_FILE
from shared_components.federation.start import carry_spent, own_state, start_of
from shared_components.files import load_tensors, write_text
from shared_components.records import found_record, write_record
from shared_components.value_rules import whole


@dataclass(frozen=True)
class SiteJob:
    """A job at a site.

    Attributes:
        federation: with the data of this site alone.
        plan: what its client is built from; None at a site that takes part in no round.
        place: the site.
        parts: what the job has beside the federation's rounds.
    """

    federation: Federation
    plan: ClientPlan | None
    place: Place
    parts: JobParts

    @property
    def folder(self) -> Path:
        """The site's own for this federation."""
        return Path(self.federation.output_dir) / "clients" / self.place.name


def check(job: SiteJob, work: Work) -> Done:
    """Check the site's data; what is wrong with which file stays at the site, numbers alone are sent."""
    found = site_check(job.federation, job.plan.name)
    lines = [*found.faults, *(f"note: {note}" for note in found.notes)] or ["nothing to mend"]
    write_text(Path(job.plan.folder) / FAULTS, "".join(f"{line}\n" for line in lines))
    return Done(found.report.as_dict())


def build(job: SiteJob, work: Work) -> Done:
    """Build the client in its state after a round, if its data are still those of that round."""
    round = _round(work, "round", 0, job.federation.rounds)
    if not job.place.rehearsal:
        _compare_data(job, resumed=round > 0)
    return Done(worker.build(job.plan, round))


def initial_weights(job: SiteJob, work: Work) -> Done:
    """The weights with which the client was built."""
    file = work.folder / "update.pt"
    worker.initial_weights(job.plan, file)
    return Done(tensors_file=file)


def train(job: SiteJob, work: Work) -> Done:
    """Train a round, and write the state after it before anything is sent."""
    round, file = _round(work, "round", 1, job.federation.rounds), work.folder / "update.pt"
    values = worker.train(job.plan, round, _round(work, "before", 0, round - 1), work.tensors_file, file)
    worker.remember(job.plan, round)
    return Done(values, file)


def export(job: SiteJob, work: Work) -> Done:
    """Let the bundle write its deliverable, and send it unless it is the client's own."""
    round = _round(work, "round", 0, job.federation.rounds)
    values = worker.export(job.plan, work.tensors_file, round)
    shared = values["exported"] and not job.federation.make_aggregator().personal
    return Done(values, files=[job.federation.export_path] if shared else [])


TASKS: dict[str, Callable[[SiteJob, Work], Done]] = {
    "build": build,
    "initial_weights": initial_weights,
    "train": train,
    "export": export,
    "check": check,
}
"""Task name to what a site does for it."""

_jobs: dict[tuple[Path, str], SiteJob] = {}  # of this process


def site_job(custom: Path, kit: Path, name: str) -> SiteJob:
    """The job whose folder ``custom`` is given, as the site called ``name`` with that startup kit sees it.

    Raises:
        InputError: the site file or the job is not fit, or the site demands more privacy.
    """
    if (custom, name) not in _jobs:
        place = read_site(kit, name)
        federation = read_job(custom, place)
        torch.set_num_threads(federation.threads_per_worker)
        plan = None
        if name in federation.clients:
            start = start_of(federation)
            before = own_state(start, place.earlier_folders(start), name) if start else ""
            plan = client_plan(federation, name, place.demand, place.budget, before)
            if place.budget is None:  # a site's own has counted it already
                carry_spent(start, plan.budget, name)
        _jobs[custom, name] = SiteJob(federation, plan, place, read_parts(custom))
    return _jobs[custom, name]


def note_sent(job: SiteJob, number: str, task: str, work: Work, done: Done) -> None:
    """Enter an answer into the site's own record, before it leaves.

    Args:
        job: at this site.
        number: of the job, as NVFlare has it.
        task: that was asked for.
        work: what was asked.
        done: the answer.
    """
    tensors = {} if done.tensors_file is None else from_blocks(load_tensors(done.tensors_file))
    released, privacy = done.values.get("released"), job.federation.privacy
    files = done.values.get("names") or [file.name for file in done.files]
    record = SentRecord(job.folder)
    record.enter(
        job=number,
        task=task,
        about=printable(str(work.values.get("round", work.values.get("stage", ""))), 200),
        tensors=len(tensors),
        bytes=sum(t.nbytes for t in tensors.values())
        + sum(file.stat().st_size for file in done.files)
        + len(done.values.get(FAILURE, "")),
        files=", ".join(files),
        values=", ".join(done.values),
        epsilon=f"{privacy.spent(released):.6g}" if privacy and released else "",
    )
    if job.plan is not None:  # of a site that trains nothing the table tells all
        record.sum_up(job.federation.name, job.plan)


def told_of(job: SiteJob, error: BaseException, own: Sequence[Path]) -> str:
    """What of a failure of this job may leave the site: all of it in a rehearsal, which is on one machine.

    Args:
        job: at this site.
        error: what went wrong.
        own: folders of the job and of the startup kit.
    """
    if job.place.rehearsal:
        return failure_line(error)
    folders = (job.folder, Path(job.federation.output_dir), Path(job.place.folder), *own)
    return told_outside(error, folders, job.place.data_roots)


def _round(work: Work, key: str, first: int, last: int) -> int:
    """The number of a round that is asked for; it names a file here.

    Raises:
        InputError: it is none that the federation has.
    """
    fault = whole(first, last).fault(key, work.values.get(key))
    if fault:
        raise InputError(f"{fault}; submit the job anew")
    return work.values[key]


def _compare_data(job: SiteJob, resumed: bool) -> None:
    """Note what the client trains on, and refuse to go on with other data than it began with.

    Raises:
        InputError: they have changed.
    """
    folder, name = Path(job.plan.folder), job.plan.name
    digests = FileDigests(folder / "digests.json")
    labels = reads_labels(bundle_config(job.federation))
    data = data_record({name: job.federation.clients[name]}, digests, labels)
    before = found_record(folder / "data.json") if resumed else None
    changes = data_changes(before, data) if before else []
    if changes:
        raise InputError(
            f"its data are not those that the rounds so far were trained on, as {ERROR_FILE} at its site tells; put "
            "them back, or start over with --force"
        ) from InputError(told(changes))
    write_record(folder / "data.json", data)
    digests.keep()
