"""The statistics of a federation over NVFlare's own workflow for statistics."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.outcome import simulated_outcome
from shared_components.federation.nvflare.poc import ProofOfConcept
from shared_components.federation.nvflare.simulator import client_places, simulate, write_sites
from shared_components.federation.nvflare.site_statistics import sites_from
from shared_components.federation.nvflare.statistics_job import (
    STATISTICS,
    StatisticsKind,
    write_statistics_job,
)
from shared_components.federation.nvflare.submission import Submission
from shared_components.federation.statistics.site import Asked
from shared_components.files import remove_tree

SILENT = {"failure": "it sent nothing; the cause stands in the log of its site"}


def simulated_statistics(
    federation: Federation, asked: Asked, timeout: float | None = None
) -> dict[str, dict[str, Any]]:
    """As :func:`local_statistics`, through NVFlare's simulator: every client in a process of its own.

    Returns:
        Client to what :func:`site_statistics` returns there, or to ``{"failure": text}``.
    Raises:
        InputError: NVFlare did not run the job to its end.
    """
    workspace = Path(federation.output_dir) / "nvflare"
    remove_tree(workspace)
    with tempfile.TemporaryDirectory() as folder:
        job = write_statistics_job(federation, asked, Path(folder) / "job", timeout)
        root = Path(federation.output_dir)
        sites = client_places(federation, dict.fromkeys(federation.clients, root))
        simulate(sites, job, write_sites(sites, root, Path(folder) / "sites"), workspace)
    job_folder = simulated_outcome(workspace).parent
    file = job_folder / STATISTICS
    if not file.is_file():
        log = job_folder.parent / "log.txt"
        raise InputError(
            f"{federation.name}: NVFlare's simulator ended without the statistics; its log is {log}"
        )
    found = _read(file, federation, asked)
    remove_tree(workspace)
    return found


def rehearsed_statistics(
    federation: Federation, asked: Asked, timeout: float | None = None
) -> dict[str, dict[str, Any]]:
    """The same with NVFlare's server and clients as processes of this machine, with certificates."""
    kind = StatisticsKind(asked=asked, timeout=timeout)
    return _fetched(federation, asked, lambda place: ProofOfConcept(place, kind=kind).run())


def submitted_statistics(
    federation: Federation, asked: Asked, kit: Path, timeout: float | None = None
) -> dict[str, dict[str, Any]]:
    """The same of sites that run NVFlare, whose data are not known here.

    Args:
        federation: its clients are the names of the sites.
        asked: for what.
        kit: the administrator's startup kit.
        timeout: seconds that each site may look at its volumes; None: as long as it needs.
    """
    kind = StatisticsKind(asked=asked, timeout=timeout)
    return _fetched(federation, asked, lambda place: Submission(place, kit, kind=kind).run())


def _fetched(
    federation: Federation, asked: Asked, run: Callable[[Federation], Path]
) -> dict[str, dict[str, Any]]:
    """Let a job be run into a folder beside the federation's run, which is removed if all went well."""
    folder = Path(federation.output_dir) / "statistics" / "nvflare"
    run(replace(federation, output_dir=str(folder)))
    found = _read(folder / Path(STATISTICS).name, federation, asked)
    remove_tree(folder)
    return found


def _read(file: Path, federation: Federation, asked: Asked) -> dict[str, dict[str, Any]]:
    found = sites_from(json.loads(file.read_text(encoding="utf-8")), asked.reading.bins)
    return {name: found.get(name, SILENT) for name in federation.clients}
