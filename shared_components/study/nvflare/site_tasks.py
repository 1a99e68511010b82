"""What a site does for a study: tell what it has in counts, and run its own stages on its own data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, shown
from shared_components.federation import worker
from shared_components.federation.client_entry import Client
from shared_components.federation.data_check import faults_beside
from shared_components.federation.federation import client_plan
from shared_components.federation.file_digests import FileDigests, data_record, digest
from shared_components.federation.nvflare.message import Done, Work
from shared_components.federation.nvflare.site_tasks import TASKS as FEDERATION_TASKS
from shared_components.federation.nvflare.site_tasks import SiteJob
from shared_components.federation.site_check import FAULTS
from shared_components.files import write_atomically, write_text
from shared_components.study.client_data import ClientData, SiteDescription
from shared_components.study.nvflare.study_job import (
    carried,
    check_lone_source,
    handed_out,
    place_study,
    site_stages,
)
from shared_components.study.released import pack, unpack
from shared_components.study.settings import VARIANTS
from shared_components.study.source_model import check_source_federation, source_federation
from shared_components.study.stage import Stage, short_digest
from shared_components.study.stage_places import run_stage
from shared_components.study.study import Study

Task = Callable[[SiteJob, Work], Done]
RELEASED = "released.zip"  # the one file that a stage sends
SOURCE_TASKS = "source_model."  # what the names of the tasks begin with that train the source model together
_source_jobs: dict[tuple[str, str, str], SiteJob] = {}  # of this process


def describe(job: SiteJob, work: Work) -> Done:
    """Counts of the site's images, its domains and labels, and a digest that tells whether it still has the same."""
    folder, data = Path(job.federation.output_dir).parent, job.place.data_roots
    if job.plan is None and not job.place.rehearsal:
        _refuse_faults(job, folder)
    digests = FileDigests(folder / "described.json")
    (roots,) = data_record({job.place.name: Client(data, ())}, digests).values()
    digests.keep()
    state = short_digest([*roots.values()])
    return Done(SiteDescription.of(ClientData.load(data), state, job.place.noisy).as_dict())


def _refuse_faults(job: SiteJob, folder: Path) -> None:
    """The check of a site that trains nothing; what is wrong with which file stays there.

    Raises:
        InputError: something is.
    """
    faults = faults_beside(job.federation, job.place.data_roots)
    write_text(folder / FAULTS, "".join(f"{line}\n" for line in faults or ["nothing to mend"]))
    if faults:
        raise InputError(
            f"{len(faults)} problems; they stand, with their cures, in {FAULTS} of its own folder"
        )


def stage(job: SiteJob, work: Work) -> Done:
    """Run one of this site's own stages unless it is done, and send what may leave of it."""
    worker.forget_all()  # what is trained together is trained: the memory is the stage's
    study = place_study(job.federation, job.parts, work.values["clients"], job.place)
    stages = site_stages(study)
    wanted = _own_stage(stages, job.place.name, work.values["stage"])
    carries = wanted.key in carried(stages)  # whatever a server says
    if carries and wanted.name in (*VARIANTS, "synthetic"):
        check_lone_source(study, wanted.client, job.place.noisy)
    _receive(study, wanted, work)
    digests = FileDigests(study.folder / "digests.json")
    before = _texts(work.values["before"])
    found = wanted.found(digests, before)
    done = found or run_stage(wanted, wanted.fingerprint(digests, before))
    digests.keep()
    archive = work.folder / RELEASED
    names = pack(wanted.name, wanted.folder, archive, tables_alone=not carries)
    values = {"seconds": done.seconds, "outputs": done.outputs, "kept": found is not None}
    return Done({**values, "sha256": digest(archive), "names": names}, files=[archive])


def _own_stage(stages: Sequence[Stage], client: str, key: Any) -> Stage:
    """The stage that is asked for.

    Raises:
        InputError: it is none of this client's.
    """
    found = {stage.key: stage for stage in stages if stage.client == client}
    if key not in found:
        raise InputError(f"stage {shown(key)}: expected one of {client}'s, which are {', '.join(found)}")
    return found[key]


def _receive(study: Study, wanted: Stage, work: Work) -> None:
    """Put what has come with a stage, which others have made, where the stage looks for it.

    Raises:
        InputError: it is not whole, or not what the stage needs.
    """
    for key, sent in dict(work.values["needs"]).items():
        client, _, name = key.partition("/")
        if key not in wanted.needs or client == wanted.client:
            raise InputError(f"{wanted.key}: {shown(key)} was sent, which it does not need from elsewhere")
        unpack(name, _whole(work, sent), study.place(client, name))
    for name, sent in dict(work.values["trained"]).items():
        file = handed_out(study).get(name)
        if str(file) not in wanted.reads:
            raise InputError(f"{wanted.key}: {shown(name)} was sent, which it does not read")
        content = _whole(work, sent).read_bytes()
        write_atomically(file, lambda place, content=content: place.write_bytes(content))


def _whole(work: Work, sent: Mapping[str, str]) -> Path:
    """A file that has come, by its name and checksum."""
    file = work.files.get(sent["file"])
    if file is None or digest(file) != sent["sha256"]:
        raise InputError(
            f"{shown(sent['file'])}: did not arrive as it was sent; go on with --resume to send it again"
        )
    return file


def _texts(values: Any) -> list[str]:
    if not all(isinstance(value, str) and re.fullmatch(r"[0-9a-f]{1,64}", value) for value in values):
        raise InputError(f"expected digests of the stages before, found {shown(values)}")
    return list(values)


def _together(task: Task) -> Task:
    """A task of the federation that trains the source model, in the place of the factory's."""

    def done(job: SiteJob, work: Work) -> Done:
        worker.forget(job.plan.folder)  # the factory is trained
        return task(_source_job(job, work.values["clients"], str(work.values["variant"])), work)

    return done


def _source_job(job: SiteJob, described: Mapping[str, Any], variant: str) -> SiteJob:
    """This site in the federation of the labelled clients that trains a variant of the source model.

    Raises:
        InputError: it has no part in one.
    """
    key = (job.plan.folder, json.dumps(described, sort_keys=True), variant)
    if key not in _source_jobs:
        study = place_study(job.federation, job.parts, described, job.place)
        if not study.federates_source or job.place.name not in study.sources:
            raise InputError("expected a part in training the source model, found none, as its data are")
        if variant not in VARIANTS:
            raise InputError(f"expected one of {', '.join(VARIANTS)} to train, found {shown(variant)}")
        check_source_federation(study)
        federation = source_federation(study, variant)
        # one budget for all trainings
        plan = client_plan(federation, job.place.name, job.plan.demand, job.plan.budget)
        _source_jobs[key] = replace(job, federation=federation, plan=plan)
    return _source_jobs[key]


def own_source_model(job: SiteJob, work: Work) -> Done:
    """The federated source model with the norms of this site, whose look the synthetic volumes are labelled in.

    Raises:
        InputError: it is another's look, or norms are nobody's own.
    """
    source = place_study(job.federation, job.parts, work.values["clients"], job.place).source
    own = _source_job(job, work.values["clients"], str(work.values["variant"]))
    if job.place.name != source or not own.federation.make_aggregator().personal:
        raise InputError(
            f"expected to be asked for norms as the source of a study whose norms stay private, found {source} to be "
            "its source; the norms of this site stay here"
        )
    return Done(files=[own.federation.client_export_path(job.place.name)])


TASKS: dict[str, Task] = {
    "describe": describe,
    "stage": stage,
    **{
        f"{SOURCE_TASKS}{name}": _together(task) for name, task in FEDERATION_TASKS.items() if name != "check"
    },
    f"{SOURCE_TASKS}own": own_source_model,
}
"""Task name to what a site does for it."""
