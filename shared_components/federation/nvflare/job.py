"""A job of NVFlare: everything that server and sites run, and no path of any of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor, ExecutionMode
from nvflare.client.config import ExchangeFormat
from nvflare.job_config.api import FedJob

import shared_components
from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.folder_kinds import refuse_run, refuse_study
from shared_components.federation.nvflare.asking import Living
from shared_components.federation.nvflare.controller import FederationController
from shared_components.federation.nvflare.job_file import (
    FILE,
    PARTS,
    START,
    JobParts,
    job_values,
    refuse_data_roots,
    tasks_of,
)
from shared_components.federation.nvflare.places import plain_name
from shared_components.federation.start import start_of
from shared_components.files import remove_tree, save_tensors, write_text

SCRIPT = "shared_components/federation/nvflare/client_script.py"
NOT_IN_A_JOB = ("__pycache__", "*.pyc", "benchmarks", "packaging", "colin27", "spinal_cord")
POLL = 0.1  # seconds between two looks of a client for the next task


@dataclass(frozen=True)
class JobKind:
    """What a federation is submitted for: its rounds, or more.

    Attributes:
        controller: the class of the server's side.
        parts: what the job has beside the federation's rounds.
        ends: names of what a result has only once all is done.
        guests: the sites of ``parts`` that take part in no round, to their data roots, where they are here.
    """

    controller: type[FederationController] = FederationController
    parts: JobParts = field(default_factory=JobParts)
    ends: tuple[str, ...] = ()
    guests: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def write(
        self,
        federation: Federation,
        folder: Path,
        resume: bool = False,
        force: bool = False,
        quiet: bool = False,
    ) -> Path:
        """Write the job; see :func:`write_job`, and :class:`FederationController` for how it is to be run."""
        return write_job(federation, folder, self.controller(resume, force, quiet), self.parts)

    def is_done(self, folder: Path) -> bool:
        """Whether a folder holds a run that the job would go on with or throw away."""
        return (folder / self.parts.within / "global.pt").is_file()

    def refuse_other(self, folder: Path) -> None:
        """Keep it out of a folder that holds something of another kind, a study or a run.

        Raises:
            InputError: the folder does.
        """
        (refuse_run if self.parts.within else refuse_study)(folder)


def write_job(
    federation: Federation, folder: Path, controller: FederationController, parts: JobParts | None = None
) -> Path:
    """Write the job's folder.

    Args:
        federation: what is to run; its clients are the names of NVFlare's sites.
        folder: in which a folder of the job's name is made.
        controller: with the arguments with which the server shall make it.
        parts: what the job has beside the federation's rounds.
    Returns:
        The job's folder.
    Raises:
        InputError: a data root would be in it, or there is something else of that name.
    """
    name, parts = plain_name(federation.name), parts or JobParts()
    job = FedJob(name=name, min_clients=1)  # how many must answer, the coordinator decides
    job.set_app_packages(["shared_components"])  # staged whole, with files that no import names
    job.to_server(controller)
    job.to_clients(_executor(), tasks=list(tasks_of(parts)))
    job.to_clients(Living(), id="living")
    return finished_job(job, federation, folder, parts)


def finished_job(job: FedJob, federation: Federation, folder: Path, parts: JobParts | None = None) -> Path:
    """Put the code, the bundle and the federation into a job, and write its folder.

    Args:
        job: with what its server and its sites do.
        federation: its clients are the names of NVFlare's sites.
        folder: in which a folder of the job's name is made.
        parts: what the job has beside the federation's rounds.
    Raises:
        InputError: as :func:`write_job`.
    """
    place = folder / job.name
    if place.exists() and not (place / "meta.json").is_file():
        raise InputError(f"{place}: is in the way and no job; name another folder, or move it away")
    remove_tree(place)
    job.to_server({"task_request_interval": POLL, "server": {"task_request_interval": POLL}})
    job.to_clients({"task_request_interval": POLL})
    with tempfile.TemporaryDirectory() as staged:
        _stage(federation, parts or JobParts(), Path(staged))
        job.to_clients(staged)
        job.export_job(str(folder))
    _name_sites(place / "meta.json", [*federation.clients, *(parts or JobParts()).guests])
    return place


def _executor() -> ClientAPIExecutor:
    """NVFlare's own, which runs our script; ``ScriptRunner`` makes the same, but with a path of this machine."""
    return ClientAPIExecutor(
        execution_mode=ExecutionMode.IN_PROCESS,
        task_script_path=SCRIPT,
        params_exchange_format=ExchangeFormat.PYTORCH,
        server_expected_format=ExchangeFormat.PYTORCH,
    )


def _stage(federation: Federation, parts: JobParts, folder: Path) -> None:
    """The folder ``custom`` of the job: this package, the bundles, the federation."""
    ignored = shutil.ignore_patterns(*NOT_IN_A_JOB)
    shutil.copytree(Path(shared_components.__file__).parent, folder / "shared_components", ignore=ignored)
    refuse_data_roots(federation, parts.values())
    # weights travel as a start or in rounds alone
    ignored = shutil.ignore_patterns(*NOT_IN_A_JOB, "docs", "models")
    for name, bundle in {Path(federation.bundle).name: Path(federation.bundle), **parts.bundles}.items():
        shutil.copytree(bundle, folder / "bundles" / name, ignore=ignored)
    write_text(folder / PARTS, yaml.safe_dump(parts.values(), sort_keys=False, allow_unicode=True))
    values = yaml.safe_dump(job_values(federation), sort_keys=False, allow_unicode=True)
    write_text(folder / FILE, values)
    start = start_of(federation)
    if start is not None:
        save_tensors(folder / START, start.content(federation.clients))


def _name_sites(meta_file: Path, sites: Sequence[str]) -> None:
    """Deploy the one application to the server and these sites, and to no other."""
    meta = json.loads(meta_file.read_text(encoding="utf-8"))
    (application,) = meta["deploy_map"]
    meta["deploy_map"] = {application: ["server", *sites]}
    write_text(meta_file, json.dumps(meta, indent=1))
