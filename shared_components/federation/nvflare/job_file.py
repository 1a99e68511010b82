"""What of a federation travels in a job, and how it is read again where the job runs."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import federation_from
from shared_components.federation.nvflare.places import Place
from shared_components.files import inside, lies_in
from shared_components.yaml_files import read_values, texts

TASKS = "shared_components.federation.nvflare.site_tasks"
PARTS = "job.yaml"  # beside it: what the job has more than a federation
FILE = "federation.yaml"  # in a job's folder ``custom``, beside ``bundles`` and ``shared_components``
START = "start.pt"  # beside it: what the federation goes on from, if it does
AT_HOME = ("output_dir", "study", "engine", "workers")  # what concerns the place of a run alone


@dataclass(frozen=True)
class JobParts:
    """What a job has beside a federation's rounds.

    Attributes:
        within: the folder of the rounds, relative to where a place keeps the federation.
        tasks: modules whose ``TASKS`` a site can do, beside those of a federation.
        bundles: name in the job's folder ``bundles`` to a bundle's folder, beside the federation's own.
        settings: plain values for those tasks.
        guests: sites that take part in no round, but do those tasks.
    """

    within: str = ""
    tasks: tuple[str, ...] = ()
    bundles: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    guests: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """As they stand in the job."""
        lists = {"tasks": list(self.tasks), "guests": list(self.guests)}
        return {"within": self.within, **lists, "settings": dict(self.settings)}


def read_parts(custom: Path) -> JobParts:
    """Those of the job whose folder ``custom`` is given; its bundles are there already."""
    values = read_values(custom / PARTS, "job") if (custom / PARTS).is_file() else {}
    tasks, guests = (tuple(values.get(key, ())) for key in ("tasks", "guests"))
    return JobParts(values.get("within", ""), tasks, {}, values.get("settings", {}), guests)


def tasks_of(parts: JobParts) -> dict[str, Callable]:
    """Name of a task to the function that a site runs for it."""
    modules = [importlib.import_module(name) for name in (TASKS, *parts.tasks)]
    return {name: function for module in modules for name, function in module.TASKS.items()}


def job_values(federation: Federation) -> dict[str, Any]:
    """The federation file of a job: no path of any machine.

    Raises:
        InputError: a client's data root stands in it all the same, in ``overrides`` for instance.
    """
    values = {key: value for key, value in federation.as_dict().items() if key not in AT_HOME}
    values["bundle"] = f"bundles/{Path(federation.bundle).name}"
    values["start"] = None if federation.start is None else START
    if federation.study:  # whose other federations are of fewer clients
        values["min_clients"] = federation.answering
    values["clients"] = {name: {"domain": client.domain} for name, client in federation.clients.items()}
    refuse_data_roots(federation, values)
    return values


def refuse_data_roots(federation: Federation, values: Mapping[str, Any]) -> None:
    """What is about to travel must not name the place of any client's data.

    Raises:
        InputError: it does.
    """
    for name, client in federation.clients.items():
        for root in client.data_roots:
            if _is_named(root, values, federation.beside):
                raise InputError(
                    f"client {name}: its data_root {root} stands elsewhere in the federation file too, in 'overrides', "
                    "say; a job must not name it: take it out"
                )


def _is_named(root: str, values: Mapping[str, Any], beside: str) -> bool:
    """Whether a folder stands anywhere, or a place in it; relative paths begin at the file's folder or at this one."""
    if re.search(rf"(?<![\w.-]){re.escape(root)}(?![\w.-])", str(values)):
        return True
    places = [Path(start, text) for text in texts(values) for start in (beside, "")]
    return any(os.path.exists(place) and lies_in(place, root) for place in places)


def read_job(custom: Path, place: Place) -> Federation:
    """The federation as it looks from a place: with that place's data alone.

    Args:
        custom: the job's folder ``custom``.
        place: the site or server.
    Raises:
        InputError: the job is not fit for the place.
    """
    values, parts = read_values(custom / FILE, "federation"), read_parts(custom)
    folder, within = place.run_folder(str(values.get("name"))), str(parts.within)
    inside(folder, within)
    values["output_dir"] = str(Path(folder, within))
    values["engine"] = "nvflare"
    if place.data_roots and place.name not in parts.guests:
        entry = (values.get("clients") or {}).get(place.name)
        if not isinstance(entry, dict):
            raise InputError(
                f"{custom / FILE}: site {place.name} is no client of this federation; its clients are "
                f"{', '.join(map(str, values.get('clients') or ()))}"
            )
        entry["data_root"] = list(place.data_roots)
    return federation_from(values, source=custom / FILE, elsewhere=True)
