"""The statistics of a federation over NVFlare's own workflow for statistics."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.outcome import simulated_outcome
from shared_components.federation.nvflare.requirement import require_nvflare
from shared_components.federation.statistics.site import Asked
from shared_components.files import remove_tree

RESULT = "statistics.json"  # in the job's folder at the server


def simulated_statistics(federation: Federation, asked: Asked) -> dict[str, dict[str, Any]]:
    """As :func:`local_statistics`, through NVFlare's simulator: every client in a process of its own.

    Returns:
        Client to what :func:`site_statistics` returns there, or to ``{"failure": text}``.
    Raises:
        InputError: NVFlare is not installed or did not run the job to its end.
    """
    require_nvflare()
    from shared_components.federation.nvflare.simulator import simulate, write_sites
    from shared_components.federation.nvflare.site_statistics import sites_from
    from shared_components.federation.nvflare.statistics_job import write_statistics_job

    workspace = Path(federation.output_dir) / "nvflare"
    remove_tree(workspace)
    with tempfile.TemporaryDirectory() as folder:
        job = write_statistics_job(federation, asked, Path(folder) / "job")
        root = Path(federation.output_dir)
        sites = write_sites(federation, dict.fromkeys(federation.clients, root), root, Path(folder) / "sites")
        simulate(federation, job, sites, workspace)
    job_folder = simulated_outcome(workspace).parent
    file = job_folder / RESULT
    if not file.is_file():
        log = job_folder.parent / "log.txt"
        raise InputError(
            f"{federation.name}: NVFlare's simulator ended without the statistics; its log is {log}"
        )
    found = sites_from(json.loads(file.read_text(encoding="utf-8")), asked.reading.bins)
    remove_tree(workspace)
    silent = {"failure": "it sent nothing; the cause stands in the log of its site"}
    return {name: found.get(name, silent) for name in federation.clients}
