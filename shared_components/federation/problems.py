"""Everything that can be wrong with a federation file, found before anything starts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai.bundle import ConfigParser

if TYPE_CHECKING:
    from shared_components.federation.federation_file import Federation

ENGINES = ("local", "nvflare")
DRIVEN_IDS = {  # ids of the bundle's config that follow from other keys of the federation file
    "bundle_root": "bundle",
    "dataset_dir": "data_root of the client",
    "domains": "domains",
    "labels": "labels",
    "seed": "seed",
    "epoch_length": "updates_per_round",
    "max_epochs": "rounds",
    "output_dir": "output_dir",
    "export_path": "output_dir",
}


def federation_problems(federation: Federation) -> list[str]:
    """Each problem in one line with its cure; an empty list for a federation that can run."""
    return [*_number_problems(federation), *_client_problems(federation), *_bundle_problems(federation)]


def unknown(what: str, found: Iterable[Any], known: list[str]) -> list[str]:
    return [f"{what} '{key}' is unknown{closest(key, known)}" for key in found if key not in known]


def closest(word: Any, known: Iterable[str]) -> str:
    """`` (did you mean '…'?)``, or the known words where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else f"; known are {', '.join(known)}"


def _number_problems(federation: Federation) -> list[str]:
    lowest = {
        "rounds": 1,
        "updates_per_round": 1,
        "clients_per_round": 1,
        "workers": 0,
        "threads_per_worker": 1,
    }
    problems = [
        f"'{key}' must be a whole number from {least} up, found {value!r}"
        for key, least in {**lowest, "seed": 0}.items()
        if not _is_whole(value := getattr(federation, key)) or value < least
    ]
    drawn = federation.clients_per_round
    if federation.clients and _is_whole(drawn) and drawn > len(federation.clients):
        problems.append(f"'clients_per_round' is {drawn}, but there are {len(federation.clients)} clients")
    return problems


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _client_problems(federation: Federation) -> list[str]:
    problems = []
    if len(set(federation.domains)) < len(federation.domains):
        problems.append(f"'domains' names one twice: {', '.join(federation.domains)}")
    for name, client in federation.clients.items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            problems.append(
                f"client '{name}': a name is of letters, digits, '-', '_' and '.', for it names a folder"
            )
        if client.domain and client.domain not in federation.domains:
            hint = closest(client.domain, federation.domains)
            problems.append(f"client '{name}': domain '{client.domain}' is unknown{hint}")
        if client.data_root and not Path(client.data_root).is_dir():
            problems.append(f"client '{name}': data_root {client.data_root} is not a folder; check the path")
    return problems


def _bundle_problems(federation: Federation) -> list[str]:
    problems = []
    if federation.bundle:
        problems += [
            f"'bundle' {federation.bundle} has no configs/{name}; check 'bundle' and 'configs'"
            for name, file in zip(federation.configs, federation.config_files, strict=True)
            if not Path(file).is_file()
        ]
        if not problems:
            problems += _override_problems(federation)
    if federation.engine not in ENGINES:
        problems.append(f"'engine' is {federation.engine!r}{closest(federation.engine, ENGINES)}")
    elif federation.engine != "local":
        problems.append(
            f"'engine' is '{federation.engine}', but this version runs 'local' only; set engine: local"
        )
    if "_target_" not in federation.aggregator:
        problems.append("'aggregator' has no '_target_', such as shared_components.federation.FedAvg")
    else:
        problems += _aggregator_problems(federation)
    return problems


def _aggregator_problems(federation: Federation) -> list[str]:
    try:
        federation.make_aggregator()
    except (ModuleNotFoundError, RuntimeError, TypeError, ValueError) as error:
        return [f"'aggregator' cannot be made: {' '.join(str(error).split())}"]
    return []


def _override_problems(federation: Federation) -> list[str]:
    """MONAI takes an override of an unknown id in silence, so misspelt ones are found here."""
    parser = ConfigParser(ConfigParser.load_config_files(federation.config_files))
    problems = []
    for key in federation.overrides:
        if key in DRIVEN_IDS:
            problems.append(f"overrides: '{key}' follows from '{DRIVEN_IDS[key]}'; set it there")
        elif key not in parser:
            problems.append(f"overrides: '{key}' is no id of the bundle's config{_near_id(key, parser)}")
    return problems


def _near_id(key: str, parser: ConfigParser) -> str:
    near = difflib.get_close_matches(str(key), [k for k in parser.get() if not str(k).startswith("_")], n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
