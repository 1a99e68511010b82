"""The federation file: one YAML that says who trains which bundle together, and how long.

Relative paths follow one rule: what must exist already (``bundle``, ``data_root``, ``start``) is looked for beside the
federation file first and in the current working directory second; ``output_dir``, which is made, belongs to
the current working directory.

What a file says is read as it stands. Expressions (``$…``) and references (``@…``) are for ``overrides``,
``aggregator`` and ``study``, whose content joins the configs of bundles; all that would run as these are built is a
program, which a file that is not trusted may not have.

The sections ``exchange`` and ``privacy`` are told in ``exchange.py`` and ``privacy.py``.

What a run may change when it goes on is told in ``run_settings.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, meant, shown
from shared_components.federation import aggregators
from shared_components.federation.client_entry import read_clients
from shared_components.federation.exchange import read_exchange
from shared_components.federation.faults import federation_faults
from shared_components.federation.federation import KEYS, Federation
from shared_components.federation.privacy import read_privacy
from shared_components.federation.section import Section, existing_place, path_faults, texts
from shared_components.files import lies_in
from shared_components.yaml_files import read_values

LARGEST_UPDATE = 100.0  # times the median; honest updates of one round differ by a small factor
REQUIRED = ("bundle", "domains", "clients", "rounds", "updates_per_round", "output_dir")
SECTIONS = ("overrides", "aggregator", "study")  # what joins the configs of bundles
AGGREGATORS = ("aggregator", "study: federated_source: aggregator")  # where one stands
OUR_AGGREGATORS = tuple(
    f"shared_components.federation.{name}"
    for name in aggregators.__all__
    if isinstance(getattr(aggregators, name), type)
)
BUNDLES = Path(__file__).parents[2] / "bundles"
STUDY_BUNDLES = ("adaptation", "segmentation")  # keys of the study's section that name a bundle
COMPONENT = ("_target_", "_mode_", "_requires_")  # MONAI calls, debugs or imports what stands there


def read_federation(
    path: str | os.PathLike,
    *,
    rounds: int | None = None,
    output_dir: str | os.PathLike | None = None,
    seed: int | None = None,
    engine: str | None = None,
    trusted: bool = True,
    elsewhere: bool = False,
) -> Federation:
    """Read and validate a federation file.

    Args:
        path: the YAML file.
        rounds: replaces the file's rounds.
        output_dir: replaces the file's output folder.
        seed: replaces the file's seed.
        engine: replaces the file's engine.
        trusted: whether programs in the file may run; the aggregator is made here, and what is in ``overrides`` and
            ``study`` runs wherever the bundles' configs are built, as do these, which are ours or somebody else's.
        elsewhere: the clients' data may lie at sites of their own, and need not be named.
    Returns:
        The federation, with every default filled in.
    Raises:
        InputError: every fault of the file, one a line, or a program in a file that is not trusted.
    """
    path = Path(path)
    values = read_values(path, "federation")
    found = [] if trusted else [*programs(values), *_others_bundles(values, path)]
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise InputError(
            f"{path}: {found[0]}{more} would run a program that the file names; read it, and say --trust if you do"
        )
    given = {"rounds": rounds, "output_dir": output_dir, "seed": seed, "engine": engine}
    values.update({key: value for key, value in given.items() if value is not None})
    return federation_from(values, source=path, elsewhere=elsewhere)


def federation_from(values: Mapping[str, Any], source: Path, elsewhere: bool = False) -> Federation:
    """The federation that ``values``, the content of the file ``source``, describe.

    Args:
        values: the content.
        source: the file, for paths beside it and for messages.
        elsewhere: the clients' data may lie at sites of their own, and need not be named.

    Raises:
        InputError: every fault, one a line.
    """
    file = Section(values, source)
    file.expect(KEYS, REQUIRED)
    privacy = read_privacy(file.section("privacy"))
    federation = Federation(
        name=file.text("name", source.stem),
        bundle=file.place("bundle"),
        configs=file.texts("configs", ("common.yaml", "train.yaml")),
        domains=file.texts("domains"),
        labels=_labels(file),
        clients=read_clients(file, elsewhere),
        rounds=values.get("rounds", 1),
        updates_per_round=values.get("updates_per_round", 1),
        clients_per_round=values.get("clients_per_round", "all"),
        min_clients=values.get("min_clients", "most"),
        round_timeout=values.get("round_timeout"),
        largest_update=values.get("largest_update", LARGEST_UPDATE),
        aggregator=file.mapping("aggregator") or {"_target_": "shared_components.federation.FedAvg"},
        exchange=read_exchange(file.section("exchange"), privacy),
        privacy=privacy,
        overrides=file.mapping("overrides"),
        engine=values.get("engine", "local"),
        workers=values.get("workers"),
        threads_per_worker=values.get("threads_per_worker", 1),
        start=file.place("start") or None,
        output_dir=_output_dir(file),
        seed=values.get("seed", 0),
        versions=values.get("versions", "agree"),
        study=file.mapping("study"),
        beside=str(source.parent.absolute()),
    )
    federation = _fill_defaults(federation)
    file.faults += federation_faults(federation)
    file.refuse()
    return federation


def _fill_defaults(federation: Federation) -> Federation:
    """``clients_per_round: all``, ``min_clients: most`` or ``all`` and the number of workers, which follow from the
    clients and the cores.

    A worker for each drawn client lets the operating system share the cores fairly: three clients of equal
    length end after 1.5 times one client's time on two cores, but after 2 times with two workers.
    """
    if federation.clients_per_round == "all":
        federation = replace(federation, clients_per_round=len(federation.clients))
    drawn = federation.clients_per_round if isinstance(federation.clients_per_round, int) else 1
    federation = replace(federation, answering=federation.min_clients)
    if federation.min_clients in ("most", "all"):
        federation = replace(federation, min_clients=federation.least_of(drawn))
    if federation.workers is None:
        federation = replace(federation, workers=min(drawn, max(4, os.cpu_count() or 1)))
    return federation


def _output_dir(file: Section) -> str:
    place = os.path.abspath(file.text("output_dir", "outputs"))
    own = path_faults(place, "'output_dir'")
    there = next(path for path in (Path(place), *Path(place).parents) if own or os.path.lexists(path))
    if not own and not there.is_dir():
        own = [f"'output_dir': expected a folder, or a place where one can be made, found {there}, a file"]
    file.faults += own
    return place


def _labels(file: Section) -> dict[int, str] | None:
    """Label values to class names; the values count from 0, as those of ``dataset.json`` do."""
    labels = file.values.get("labels")
    if labels is None:
        return None
    if not isinstance(labels, dict) or not labels or not all(str(k).isdecimal() for k in labels):
        file.faults.append(
            f"'labels' must map whole numbers to names, such as {{0: background}}, found {shown(labels)}"
        )
        return None
    found = {int(k): "".join(texts([v], f"'labels': {k}", file.faults)) for k, v in labels.items()}
    if len(found) < len(labels) or sorted(found) != list(range(len(labels))):
        file.faults.append(
            f"'labels': expected the values 0 to {len(labels) - 1}, found {', '.join(map(str, labels))}; "
            "count from 0 without a gap"
        )
    return found


def programs(values: Mapping[str, Any]) -> list[str]:
    """Each place of a federation file's content that would run something, named; the project's own aggregators,
    which take numbers and names alone, are none.
    """
    return [found for section in SECTIONS for found in _within(values.get(section), section)]


def _others_bundles(values: Mapping[str, Any], source: Path) -> list[str]:
    """Bundles that a federation file names and that do not lie among this project's: their configs are programs."""
    study = values.get("study") if isinstance(values.get("study"), dict) else {}
    places = {
        f"study: {key}": os.path.abspath(study[key])
        for key in STUDY_BUNDLES
        if isinstance(study.get(key), str)
    }
    if isinstance(values.get("bundle"), str):
        places["bundle"] = existing_place(values["bundle"], source, "bundle", [])
    return [
        f"{key} {shown(place, 300)}"
        for key, place in places.items()
        if os.path.isdir(place) and not lies_in(place, BUNDLES)
    ]


def _within(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            name = re.split("::|#", str(key))[-1]
            aggregator = place in AGGREGATORS and name == "_target_"
            if name in COMPONENT and not (aggregator and inner in OUR_AGGREGATORS):
                yield f"{place}: {key} {shown(inner)}{meant(inner, OUR_AGGREGATORS) if aggregator else ''}"
            else:
                yield from _within(inner, f"{place}: {key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _within(inner, place)
    elif isinstance(value, str) and value.startswith(("$", "%")):
        yield f"{place} {shown(value)}"
