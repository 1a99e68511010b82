"""The federation file: one YAML that says who trains which bundle together, and how long.

Relative paths follow one rule: what must exist already (``bundle``, ``data_root``) is looked for beside the
federation file first and in the current working directory second; ``output_dir``, which is made, belongs to
the current working directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from shared_components.errors import InputError
from shared_components.federation.client_entry import existing_place, read_clients, texts
from shared_components.federation.federation import Federation
from shared_components.federation.problems import federation_problems
from shared_components.spelling import unknown

REQUIRED = ("bundle", "domains", "clients", "rounds", "updates_per_round", "output_dir")


def read_federation(
    path: str | os.PathLike,
    *,
    rounds: int | None = None,
    output_dir: str | os.PathLike | None = None,
    seed: int | None = None,
) -> Federation:
    """Read and validate a federation file.

    Args:
        path: the YAML file.
        rounds: replaces the file's rounds.
        output_dir: replaces the file's output folder.
        seed: replaces the file's seed.
    Returns:
        The federation, with every default filled in.
    Raises:
        InputError: every problem of the file, one a line.
    """
    path = Path(path)
    values = _read_yaml(path)
    given = {"rounds": rounds, "output_dir": output_dir, "seed": seed}
    values.update({key: value for key, value in given.items() if value is not None})
    return federation_from(values, source=path)


def federation_from(values: Mapping[str, Any], source: Path) -> Federation:
    """The federation that ``values``, the content of the file ``source``, describe.

    Raises:
        InputError: every problem, one a line.
    """
    problems = [
        *unknown("key", values, [f.name for f in fields(Federation)]),
        *(f"'{key}' is missing" for key in REQUIRED if not values.get(key) and values.get(key) != 0),
    ]
    federation = Federation(
        name=str(values.get("name") or source.stem),
        bundle=existing_place(values["bundle"], source) if values.get("bundle") else "",
        configs=texts(values.get("configs") or ("common.yaml", "train.yaml")),
        domains=texts(values.get("domains") or ()),
        labels=_labels(values.get("labels"), problems),
        clients=read_clients(values.get("clients"), source, problems),
        rounds=values.get("rounds", 1),
        updates_per_round=values.get("updates_per_round", 1),
        clients_per_round=values.get("clients_per_round", "all"),
        aggregator=_dict(values, "aggregator", problems)
        or {"_target_": "shared_components.federation.FedAvg"},
        overrides=_dict(values, "overrides", problems),
        engine=values.get("engine", "local"),
        workers=values.get("workers"),
        threads_per_worker=values.get("threads_per_worker", 1),
        output_dir=os.path.abspath(str(values.get("output_dir") or "outputs")),
        seed=values.get("seed", 0),
        study=_study(values, source, problems),
    )
    federation = _fill_defaults(federation)
    problems += federation_problems(federation)
    if problems:
        head = f"{source}: {problems[0]}" if len(problems) == 1 else f"{source}: {len(problems)} problems:"
        raise InputError("\n".join([head, *(f"  - {p}" for p in problems if len(problems) > 1)]))
    return federation


def _fill_defaults(federation: Federation) -> Federation:
    """``clients_per_round: all`` and the number of workers, which follow from the clients and the cores.

    A worker for each drawn client lets the operating system share the cores fairly: three clients of equal
    length end after 1.5 times one client's time on two cores, but after 2 times with two workers.
    """
    if federation.clients_per_round == "all":
        federation = replace(federation, clients_per_round=len(federation.clients))
    if federation.workers is None:
        drawn = federation.clients_per_round if isinstance(federation.clients_per_round, int) else 1
        federation = replace(federation, workers=min(drawn, max(4, os.cpu_count() or 1)))
    return federation


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: expected a federation file, found none; check the path")
    try:
        values = ConfigParser.load_config_file(path)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a YAML file, could not read it ({reason})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected 'key: value' lines, found {type(values).__name__}")
    # overrides and the aggregator are config of other parsers: their $ and @ must reach those untouched
    later = {k: v for k, v in values.items() if k in ("overrides", "aggregator", "study")}
    parser = ConfigParser({k: v for k, v in values.items() if k not in later})
    return {**{k: parser.get_parsed_content(k) for k in values if k not in later}, **later}


def _study(values: Mapping[str, Any], source: Path, problems: list[str]) -> dict[str, Any]:
    """The study's settings as they are, but for the paths of the unseen data roots, which are those of clients."""
    study = _dict(values, "study", problems)
    if study.get("unseen"):
        roots = _dict(study, "unseen", problems)
        study["unseen"] = {str(name): existing_place(root, source) for name, root in roots.items()}
    return study


def _dict(values: Mapping[str, Any], key: str, problems: list[str]) -> dict[str, Any]:
    value = values.get(key) or {}
    if isinstance(value, dict):
        return dict(value)
    problems.append(f"'{key}' must hold 'key: value' lines, found {value!r}")
    return {}


def _labels(labels: Any, problems: list[str]) -> dict[int, str] | None:
    if labels is None:
        return None
    if not isinstance(labels, dict) or not all(str(k).isdecimal() for k in labels):
        problems.append(
            f"'labels' must map whole numbers to names, such as {{0: background}}, found {labels!r}"
        )
        return None
    return {int(k): str(v) for k, v in labels.items()}
