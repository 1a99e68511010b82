"""The NVFlare engine on this machine: its simulator, with every client in processes of its own."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared_components.federation.client_entry import Client
from shared_components.federation.coordinator import Engine
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare import require_nvflare
from shared_components.federation.nvflare.leash import leashed
from shared_components.federation.nvflare.outcome import check_outcome, simulated_outcome
from shared_components.federation.nvflare.places import VARIABLE, Place
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed
from shared_components.federation.start import start_of
from shared_components.files import make_folder, remove_tree, write_text
from shared_components.interrupts import Interrupts
from shared_components.records import write_record

LOST_AFTER = 3.0  # seconds; on one machine a process that cannot be reached is dead


class NvflareSimulator(Engine):
    """Runs a federation through NVFlare on this machine, into the same folder as the local engine; arguments as of it.

    Raises:
        InputError: NVFlare is not installed.
    """

    def __init__(self, federation: Federation, quiet: bool = False, folder: RunFolder | None = None) -> None:
        require_nvflare()
        super().__init__(federation, quiet, folder)

    def go_on(self, committed: Committed | None) -> None:
        from shared_components.federation.nvflare.controller import FederationController
        from shared_components.federation.nvflare.job import write_job

        controller = FederationController(quiet=self._quiet, lost_after=LOST_AFTER)
        del committed  # the controller reads it from the folder
        root = self._folder.root
        sites = client_places(self._federation, dict.fromkeys(self._federation.clients, root))
        rehearse(lambda folder: write_job(self._federation, folder, controller), sites, root)


def rehearse(write: Callable[[Path], Path], sites: Sequence[Place], server: Path) -> None:
    """Run a job through NVFlare's simulator, whose workspace stays in the server's folder if the job failed.

    Args:
        write: writes the job into a folder, and says where it is.
        sites: that take part.
        server: the folder of the run at the server, opened and locked by the caller.
    Raises:
        InputError: what the controller has told, or the simulator ended before the run did.
    """
    workspace = server / "nvflare"  # logs, and the job as each place has it
    remove_tree(workspace)
    with tempfile.TemporaryDirectory() as folder:
        job = write(Path(folder) / "job")
        simulate(sites, job, write_sites(sites, server, Path(folder) / "sites"), workspace)
    outcome = simulated_outcome(workspace).parent
    check_outcome(
        outcome,
        f"{server}: NVFlare's simulator ended before the run did; its log is {outcome.parent / 'log.txt'}; the run is "
        "whole up to its last round: go on with --resume",
    )
    remove_tree(workspace)


def simulate(sites: Sequence[Place], job: Path, files: Path, workspace: Path) -> None:
    """Run a job to its end, in processes that all end with this one.

    Args:
        sites: that take part.
        job: its folder.
        files: folder of the site files.
        workspace: of the simulator, for logs and what the job leaves.
    """
    with tempfile.TemporaryDirectory() as folder:
        logging = write_text(Path(folder) / "log_config.json", json.dumps(_file_logging()))
        arguments = (str(job), str(workspace), ",".join(site.name for site in sites), str(logging))
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        environment = {**os.environ, VARIABLE: str(files), "OMP_NUM_THREADS": threads}
        interrupts = Interrupts()
        with interrupts.noticed(), leashed("simulator", arguments, environment) as process:
            process.wait()
        interrupts.check()


def _file_logging() -> dict:
    """NVFlare's log, in files alone: the terminal is for the run's own lines."""
    handler = {"class": "logging.FileHandler", "filename": "log.txt", "mode": "a", "formatter": "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s - %(name)s - %(levelname)s - %(message)s"}},
        "handlers": {"file": handler},
        "loggers": {"root": {"level": "INFO", "handlers": ["file"]}},
    }


def client_places(federation: Federation, folders: Mapping[str, Path]) -> list[Place]:
    """A federation's clients as sites of a rehearsal, each with the folder where it keeps what it must remember."""
    start = start_of(federation)
    earlier = start.place if start is not None and start.run else ""
    return [
        Place(
            name, str(folders[name]), client.data_roots, demand=client.demand, rehearsal=True, earlier=earlier
        )
        for name, client in federation.clients.items()
    ]


def write_sites(sites: Sequence[Place], server: Path, folder: Path) -> Path:
    """A site file for each site and one for the server, as each would have it on a machine of its own."""
    make_folder(folder)
    for site in sites:
        own = Client(site.data_roots, (), site.demand).own
        values = {**own, "folder": site.folder, "minimum": site.minimum, "rehearsal": site.rehearsal}
        values |= {"earlier": site.earlier} if site.earlier else {}
        write_record(folder / f"{site.name}.yaml", values)
    write_record(folder / "server.yaml", {"folder": str(server), "rehearsal": True})
    return folder
