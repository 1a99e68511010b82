"""Everything that can be wrong with a federation file, found before anything starts."""

from __future__ import annotations

import inspect
import math
import os
import pydoc
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.errors import InputError, closest, input_error_in, meant, shown
from shared_components.federation.client_entry import LONGEST_NAME, Client
from shared_components.federation.federation import Federation
from shared_components.files import lies_in
from shared_components.yaml_files import read_configs, texts

ENGINES = ("local", "nvflare")
RUN_FOLDERS = (
    "clients",
    "sites",
    "unseen",
    "factory",
    "rows",
    "tensorboard",
    "exchange",
    "nvflare",
    "budgets",
)
"""In the output folder: what runs and studies write into, and empty."""
VERSIONS = ("agree", "warn")
RUN_FILES = ("global", "global.previous", "global.next", "deliverable", "update")  # without .pt
NUMBERS = {  # key: the lowest and the highest value
    "rounds": (1, 10**6),
    "updates_per_round": (1, 10**6),
    "clients_per_round": (1, 10**4),
    "min_clients": (1, 10**4),
    "workers": (0, 256),
    "threads_per_worker": (1, 256),
    "seed": (0, 2**31 - 1),
}
NAME = r"[A-Za-z0-9][\w.-]*"  # of a client; it names a folder
SITE_NAME = r"(?!server$)[A-Za-z0-9][A-Za-z0-9_-]*"  # of a client that NVFlare takes
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

PLACE = r"(.*_)?(dir|path|root)s?"  # how the last part of an id is called that names files


def federation_faults(federation: Federation) -> list[str]:
    """Each fault in one line with its cure; an empty list for a federation that can run."""
    return [
        *_number_faults(federation),
        *_client_faults(federation),
        *_bundle_faults(federation),
        *_start_faults(federation),
        *_output_faults(federation),
    ]


def _number_faults(federation: Federation) -> list[str]:
    faults = []
    for key, (least, most) in NUMBERS.items():
        value = getattr(federation, key)
        if key == "clients_per_round" and not federation.clients:
            continue  # that there are none is told
        if not _is_whole(value) or not least <= value <= most:
            bounds = f"{least} to {most}" if _is_whole(value) and value > most else f"{least} up"
            faults.append(f"'{key}' must be a whole number from {bounds}, found {shown(value)}")
    faults += [
        f"'{key}' must be a number above {least:g}, or null, found {shown(value)}"
        for key, least, value in (
            ("round_timeout", 0, federation.round_timeout),
            ("largest_update", 1, federation.largest_update),
        )
        if value is not None and not (_is_number(value) and value > least)
    ]
    drawn = federation.clients_per_round
    if _is_whole(drawn) and _is_whole(federation.min_clients) and federation.min_clients > drawn >= 1:
        faults.append(
            f"'min_clients' is {shown(federation.min_clients)}, but {shown(drawn)} clients train in a round"
        )
    if federation.clients and _is_whole(drawn) and drawn > len(federation.clients):
        faults.append(
            f"'clients_per_round' is {shown(drawn)}, but there are {len(federation.clients)} clients"
        )
    return faults


def _start_faults(federation: Federation) -> list[str]:
    if federation.start is None:
        return []
    place = f"'start' {shown(federation.start, 300)[1:-1]}"
    if not os.path.exists(federation.start):
        return [f"{place} is no file and no folder; check the path"]
    here = Path(federation.start)
    if Path(federation.output_dir) in (here, *list(here.parents)[:2]):  # a rehearsal's job lies further down
        return [f"{place} lies in 'output_dir', where the new run is written; name another 'output_dir'"]
    return []


def _output_faults(federation: Federation) -> list[str]:
    """What a run writes lies in a data root, where the next data list would take it for images; or a data root lies
    where a run writes, and where what is there is removed before a new one.
    """
    here = Path(federation.output_dir)
    faults = [
        f"'output_dir' {here} lies in a data root of client {shown(name)}; name a folder outside"
        for name, client in federation.clients.items()
        if any(Path(root) in (here, *here.parents) for root in client.data_roots)
    ]
    own = [os.path.realpath(here / part) for part in RUN_FOLDERS]
    return faults + [
        f"client {shown(name)}: its data root {root} lies where runs write, and remove what is there; move it, such as "
        f"into {here / 'data'}, or name another 'output_dir'"
        for name, client in federation.clients.items()
        for root in client.data_roots
        if any(lies_in(root, folder) for folder in own)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _client_faults(federation: Federation) -> list[str]:
    faults = []
    if len(set(federation.domains)) < len(federation.domains):
        faults.append(f"'domains' names one twice: {shown(list(federation.domains), 300)}")
    faults += [f"'domains': {_too_long(name)}" for name in federation.domains if len(name) > LONGEST_NAME]
    if len(federation.name) > LONGEST_NAME:
        faults.append(f"'name': {_too_long(federation.name)}")
    for name, client in federation.clients.items():
        faults += [f"client {shown(name)}: {fault}" for fault in name_faults(name, federation.engine)]
        faults += [f"client '{name}': {fault}" for fault in _root_faults(client, federation.domains)]
        unmet = "" if client.demand is None else client.demand.unmet(federation.privacy)
        faults += [f"client '{name}': {unmet}"] if unmet else []
    return faults + _shared_roots(federation)


def name_faults(name: str, engine: str = "local") -> list[str]:
    """What is wrong with the name of a client, or of another place, for an engine."""
    faults = []
    if engine == "nvflare" and re.fullmatch(NAME, name) and not re.fullmatch(SITE_NAME, name):
        faults.append(
            "a site's name is of the letters A to Z and a to z, digits, '-' and '_', and not 'server'"
        )
    if not re.fullmatch(NAME, name):
        faults.append(
            "a name is of letters, digits, '-', '_' and '.', and begins with one of A to Z, a to z and 0 to 9, for it "
            "names a folder; name it otherwise"
        )
    if len(name) > LONGEST_NAME:
        faults.append(_too_long(name))
    return faults


def _too_long(name: str) -> str:
    return f"expected a name of at most {LONGEST_NAME} letters, found {len(name)}"


def _shared_roots(federation: Federation) -> list[str]:
    """Two clients on the same images would count them twice, and each be tested on what the other trains on."""
    owners: dict[str, str] = {}
    faults = []
    for name, client in federation.clients.items():
        for root in client.data_roots:
            first = owners.setdefault(os.path.realpath(root), name)
            if first != name:
                faults.append(
                    f"clients '{first}' and '{name}' have the same data_root {root}; give each its own images"
                )
    return faults


def _root_faults(client: Client, domains: Sequence[str]) -> list[str]:
    """What is wrong with a client's data roots and the domains they are said to be of."""
    faults = [
        f"domain {shown(domain)} is unknown{closest(domain, domains)}"
        for domain in dict.fromkeys(client.domains)
        if domain not in domains
    ]
    faults += [
        f"data_root {shown(root, 300)[1:-1]} is not a folder; check the path"
        for root in client.data_roots
        if not os.path.isdir(root)
    ]
    roots, stated = len(client.data_roots), len(client.domains)
    if roots and stated and roots != stated:
        faults.append(
            f"expected a domain for each data_root, or one for all, found {roots} and {stated}; "
            "make the two lists as long as each other"
        )
    if len(set(client.data_roots)) < roots:
        faults.append("'data_root' names a folder twice")
    return faults


def _bundle_faults(federation: Federation) -> list[str]:
    faults = [
        f"'configs': {shown(name, 300)} lies outside of the bundle's folder configs; put the file there"
        for name in federation.configs
        if Path(name).is_absolute() or ".." in Path(name).parts
    ]
    if federation.bundle and not faults:
        faults += [
            f"'bundle' {shown(federation.bundle, 300)[1:-1]} has no configs/{shown(name)[1:-1]}; "
            "check 'bundle' and 'configs'"
            for name, file in zip(federation.configs, federation.config_files, strict=True)
            if not os.path.isfile(file)
        ]
        if not faults:
            faults += _override_faults(federation)
    if Path(federation.bundle).name in RUN_FILES:
        faults.append(
            f"'bundle' is a folder called {Path(federation.bundle).name}, as a file of every run is; what it exports "
            "is called as the folder: give that another name"
        )
    if federation.engine not in ENGINES:
        faults.append(f"'engine' is {shown(federation.engine)}{closest(federation.engine, ENGINES)}")
    if federation.versions not in VERSIONS:
        faults.append(f"'versions' is {shown(federation.versions)}{closest(federation.versions, VERSIONS)}")
    if "_target_" not in federation.aggregator:
        faults.append("'aggregator' has no '_target_', such as shared_components.federation.FedAvg")
    else:
        faults += _aggregator_faults(federation)
    return faults


def _aggregator_faults(federation: Federation) -> list[str]:
    try:
        federation.make_aggregator()
    except (ModuleNotFoundError, RuntimeError, TypeError, ValueError) as error:
        strange = _strange_argument(federation.aggregator)
        if strange:
            return [strange]
        found = input_error_in(error)
        return [f"'aggregator' cannot be made: {' '.join(str(found or error).split())}"]
    return []


def _strange_argument(config: Mapping[str, Any]) -> str:
    """Which key of an aggregator's config is none of its arguments, in a line; empty if all are."""
    made = pydoc.locate(str(config.get("_target_")))
    if not callable(made):
        return ""
    known = inspect.signature(made).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values()):
        return ""
    strange = next((key for key in map(str, config) if not key.startswith("_") and key not in known), None)
    name = str(config["_target_"]).rsplit(".", 1)[-1]
    return (
        ""
        if strange is None
        else f"aggregator: {shown(strange)} is no argument of {name}{meant(strange, known)}"
    )


def place_fault(key: str, value: Any) -> str:
    """What is wrong with a value for a nested id of a config that would name files, in a line; empty if nothing is.

    An expression may name some, but it is a program, which is told elsewhere.
    """
    *above, last = re.split("::|#", str(key))
    named = [text for text in texts(value) if not text.startswith(("$", "%"))]
    if not re.fullmatch(PLACE, last):
        named = [text for text in named if Path(text).is_absolute() or ".." in Path(text).parts]
    if not above or not named:
        return ""
    cure = "where files lie follows from 'data_root' and 'output_dir': leave it out"
    return f"{shown(key)} names {shown(named[0])}; {cure}"


def _override_faults(federation: Federation) -> list[str]:
    """MONAI takes an override of an unknown id in silence, so misspelt ones are found here."""
    try:
        parser = ConfigParser(read_configs(federation.config_files))
    except InputError as error:
        return [f"'bundle': {error}"]
    faults, ids = [], [id for id in map(str, parser.get()) if not id.startswith("_")]
    if "train::trainer" not in parser:
        named = ", ".join(federation.configs)
        faults.append(
            f"'configs' [{named}] make no training, they have no train#trainer; name all files that are merged, such "
            "as [common.yaml, train.yaml, smoke.yaml]"
        )
    for key in federation.overrides:
        if key in DRIVEN_IDS:
            faults.append(f"overrides: '{key}' follows from '{DRIVEN_IDS[key]}'; set it there")
        elif place_fault(key, federation.overrides[key]):
            faults.append(f"overrides: {place_fault(key, federation.overrides[key])}")
        elif not key or key not in parser:
            faults.append(f"overrides: {shown(key)} is no id of the bundle's config{meant(key, ids)}")
    return faults
