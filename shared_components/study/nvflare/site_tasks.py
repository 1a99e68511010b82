"""What a site does for a study: tell what it has in counts, and run its own stages on its own data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, shown
from shared_components.federation import worker
from shared_components.federation.file_digests import FileDigests, digest
from shared_components.federation.nvflare.site_tasks import SiteJob
from shared_components.federation.nvflare.site_work import Done, Work
from shared_components.files import write_atomically
from shared_components.study.client_data import ClientData
from shared_components.study.nvflare.study_job import place_study, site_stages
from shared_components.study.released import pack, unpack
from shared_components.study.site_description import SiteDescription
from shared_components.study.stage import Stage
from shared_components.study.stage_run import run_stage
from shared_components.study.study import Study

RELEASED = "released.zip"  # the one file that a stage sends
FACTORY_FILE = "factory.pt"


def describe(job: SiteJob, work: Work) -> Done:
    """Counts of the site's images, its domains and labels."""
    return Done(SiteDescription.of(ClientData.load(job.place.data_roots)).as_dict())


def stage(job: SiteJob, work: Work) -> Done:
    """Run one of this site's own stages unless it is done, and send what may leave of it."""
    worker.forget(job.plan.folder)  # the factory is trained: the memory is the stage's
    study = place_study(job.federation, job.parts, work.values["clients"], job.plan.name)
    wanted = own_stage(study, job.plan.name, work.values["stage"])
    receive(study, wanted, work)
    digests = FileDigests(study.folder / "digests.json")
    fingerprint = wanted.fingerprint(digests, _texts(work.values["before"]))
    found = wanted.done(fingerprint)
    done = found or run_stage(wanted, fingerprint)
    digests.keep()
    archive = work.folder / RELEASED
    names = pack(wanted.name, wanted.folder, archive, tables_alone=not work.values["carries"])
    values = {"seconds": done.seconds, "outputs": done.outputs, "kept": found is not None}
    return Done({**values, "sha256": digest(archive), "names": names}, files=[archive])


def own_stage(study: Study, client: str, key: Any) -> Stage:
    """The stage that is asked for.

    Raises:
        InputError: it is none of this client's.
    """
    found = {stage.key: stage for stage in site_stages(study) if stage.client == client}
    if key not in found:
        raise InputError(f"stage {shown(key)}: expected one of {client}'s, which are {', '.join(found)}")
    return found[key]


def receive(study: Study, wanted: Stage, work: Work) -> None:
    """Put what has come with a stage, which others have made, where the stage looks for it.

    Raises:
        InputError: it is not whole, or not what the stage needs.
    """
    for key, sent in dict(work.values["needs"]).items():
        client, _, name = key.partition("/")
        if key not in wanted.needs or client == wanted.client:
            raise InputError(f"{wanted.key}: {shown(key)} was sent, which it does not need from elsewhere")
        unpack(name, _whole(work, sent), study.place(client, name))
    if work.values.get("factory"):
        content = _whole(work, work.values["factory"]).read_bytes()
        write_atomically(study.factory, lambda place: place.write_bytes(content))


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


TASKS: dict[str, Callable[[SiteJob, Work], Done]] = {"describe": describe, "stage": stage}
"""Task name to what a site does for it."""
