"""What of a federation travels in a job, and how it is read again where the job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import federation_from
from shared_components.federation.nvflare.places import Place
from shared_components.yaml_files import read_values

FILE = "federation.yaml"  # in a job's folder ``custom``, beside ``bundles`` and ``shared_components``
AT_HOME = ("output_dir", "study", "engine", "workers")  # what concerns the place of a run alone


def job_values(federation: Federation) -> dict[str, Any]:
    """The federation file of a job: no path of any machine.

    Raises:
        InputError: a client's data root stands in it all the same, in ``overrides`` for instance.
    """
    values = {key: value for key, value in federation.as_dict().items() if key not in AT_HOME}
    values["bundle"] = f"bundles/{Path(federation.bundle).name}"
    values["clients"] = {name: {"domain": client.domain} for name, client in federation.clients.items()}
    for name, client in federation.clients.items():
        for root in client.data_roots:
            if root in str(values):
                raise InputError(
                    f"client {name}: its data_root {root} stands elsewhere in the federation file too, in 'overrides', "
                    "say; a job must not name it: take it out"
                )
    return values


def read_job(custom: Path, place: Place) -> Federation:
    """The federation as it looks from a place: with that place's data alone.

    Args:
        custom: the job's folder ``custom``.
        place: the site or server.
    Raises:
        InputError: the job is not fit for the place.
    """
    values = read_values(custom / FILE, "federation")
    values["output_dir"] = place.run_folder(str(values.get("name")))
    values["engine"] = "nvflare"
    if place.data_roots:
        entry = (values.get("clients") or {}).get(place.name)
        if not isinstance(entry, dict):
            raise InputError(
                f"{custom / FILE}: site {place.name} is no client of this federation; its clients are "
                f"{', '.join(map(str, values.get('clients') or ()))}"
            )
        entry["data_root"] = list(place.data_roots)
    return federation_from(values, source=custom / FILE, elsewhere=True)
