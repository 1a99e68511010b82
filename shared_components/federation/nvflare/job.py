"""A job of NVFlare: everything that server and sites run, and no path of any of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import yaml
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor, ExecutionMode
from nvflare.client.config import ExchangeFormat
from nvflare.job_config.api import FedJob

import shared_components
from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.controller import FederationController
from shared_components.federation.nvflare.job_file import FILE, job_values
from shared_components.federation.nvflare.places import plain_name
from shared_components.federation.nvflare.site_tasks import TASKS
from shared_components.files import remove_tree, write_text

SCRIPT = "shared_components/federation/nvflare/client_script.py"
NOT_IN_A_JOB = ("__pycache__", "*.pyc", "benchmarks", "packaging", "colin27")
POLL = 0.1  # seconds between two looks of a client for the next task


def write_job(federation: Federation, folder: Path, controller: FederationController) -> Path:
    """Write the job's folder.

    Args:
        federation: what is to run; its clients are the names of NVFlare's sites.
        folder: in which a folder of the job's name is made.
        controller: with the arguments with which the server shall make it.
    Returns:
        The job's folder.
    Raises:
        InputError: a data root would be in it, or there is something else of that name.
    """
    job = FedJob(
        name=plain_name(federation.name), min_clients=1
    )  # how many must answer, the coordinator decides
    job.set_app_packages(["shared_components"])  # staged whole, with files that no import names
    job.to_server(controller)
    job.to_clients(_executor(), tasks=list(TASKS))
    return finished_job(job, federation, folder)


def finished_job(job: FedJob, federation: Federation, folder: Path) -> Path:
    """Put the code, the bundle and the federation into a job, and write its folder.

    Args:
        job: with what its server and its sites do.
        federation: its clients are the names of NVFlare's sites.
        folder: in which a folder of the job's name is made.
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
        _stage(federation, Path(staged))
        job.to_clients(staged)
        job.export_job(str(folder))
    _name_sites(place / "meta.json", federation)
    return place


def _executor() -> ClientAPIExecutor:
    """NVFlare's own, which runs our script; ``ScriptRunner`` makes the same, but with a path of this machine."""
    return ClientAPIExecutor(
        execution_mode=ExecutionMode.IN_PROCESS,
        task_script_path=SCRIPT,
        params_exchange_format=ExchangeFormat.PYTORCH,
        server_expected_format=ExchangeFormat.PYTORCH,
    )


def _stage(federation: Federation, folder: Path) -> None:
    """The folder ``custom`` of the job: this package, the bundle, the federation."""
    ignored = shutil.ignore_patterns(*NOT_IN_A_JOB)
    shutil.copytree(Path(shared_components.__file__).parent, folder / "shared_components", ignore=ignored)
    bundle = Path(federation.bundle)
    shutil.copytree(
        bundle, folder / "bundles" / bundle.name, ignore=shutil.ignore_patterns(*NOT_IN_A_JOB, "demo.pt")
    )
    values = yaml.safe_dump(job_values(federation), sort_keys=False, allow_unicode=True)
    write_text(folder / FILE, values)


def _name_sites(meta_file: Path, federation: Federation) -> None:
    """Deploy the one application to the server and the federation's clients, and to no other site."""
    meta = json.loads(meta_file.read_text(encoding="utf-8"))
    (application,) = meta["deploy_map"]
    meta["deploy_map"] = {application: ["server", *federation.clients]}
    write_text(meta_file, json.dumps(meta, indent=1))
