"""The federation file: one YAML that says who trains which bundle together, and how long.

Relative paths follow one rule: what must exist already (``bundle``, ``data_root``) is looked for beside the
federation file first and in the current working directory second; ``output_dir``, which is made, belongs to
the current working directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from shared_components.errors import InputError
from shared_components.federation.aggregators import FedAvg, make_aggregator
from shared_components.federation.client_entry import Client, existing_place, read_clients, texts
from shared_components.federation.problems import federation_problems, unknown


@dataclass(frozen=True)
class Federation:
    """A validated federation file; all paths are absolute.

    Attributes:
        name: what the federation is called.
        bundle: the bundle's folder.
        configs: config files below ``<bundle>/configs``, merged in this order.
        domains: names of the domains; the order fixes each one's index.
        labels: label value -> name, or None where the bundle's own are kept.
        clients: client name -> data roots and their domains, sorted by name.
        rounds: rounds of the whole run.
        updates_per_round: the trainer's iterations of each client in one round.
        clients_per_round: how many clients are drawn each round.
        aggregator: its config, with ``_target_``.
        overrides: ids and values that replace those of the bundle's config at every client.
        engine: ``local``.
        workers: processes of the local engine; 0 runs every client in the calling process.
        threads_per_worker: torch's threads in each process.
        output_dir: the run's folder.
        seed: client i of the sorted names trains with seed + i.
        study: settings of the whole flow, kept as they are.
    """

    name: str
    bundle: str
    configs: tuple[str, ...]
    domains: tuple[str, ...]
    labels: dict[int, str] | None
    clients: dict[str, Client]
    rounds: int
    updates_per_round: int
    clients_per_round: int
    aggregator: dict[str, Any]
    overrides: dict[str, Any]
    engine: str
    workers: int
    threads_per_worker: int
    output_dir: str
    seed: int
    study: dict[str, Any]

    @property
    def config_files(self) -> list[str]:
        """The bundle's config files, absolute."""
        return [str(Path(self.bundle) / "configs" / name) for name in self.configs]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, as a federation file has them."""
        clients = {
            name: {"data_root": client.data_root, "domain": client.domain}
            for name, client in self.clients.items()
        }
        lists = {"configs": list(self.configs), "domains": list(self.domains)}
        return {**asdict(self), **lists, "clients": clients}

    def as_yaml(self) -> str:
        """The resolved federation file."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    def client_overrides(self, client: str) -> dict[str, Any]:
        """The ids and values with which ``client`` builds the bundle (beside its config files)."""
        labels = {} if self.labels is None else {"labels": dict(self.labels)}
        return {
            "quiet": True,  # the engine reports rounds; several clients' own bars would write over each other
            **self.overrides,
            **labels,
            "bundle_root": self.bundle,
            "dataset_dir": self.clients[client].data_root,
            "domains": list(self.domains),
            "seed": self.seed + list(self.clients).index(client),
            "epoch_length": self.updates_per_round,
            "max_epochs": self.rounds,
            "output_dir": str(Path(self.output_dir) / "clients" / client),
            "export_path": str(self.client_export_path(client)),
        }

    @property
    def export_path(self) -> Path:
        """Where the bundle's deliverable is written: named after the bundle's folder."""
        return Path(self.output_dir) / f"{Path(self.bundle).name}.pt"

    def client_export_path(self, client: str) -> Path:
        """The same for what ``client`` exports: in its folder where the aggregator leaves each a model of its own."""
        if not self.make_aggregator().personal:
            return self.export_path
        return Path(self.output_dir) / "clients" / client / self.export_path.name

    @property
    def unseen(self) -> dict[str, str]:
        """Name -> data root of the scanners on which a study's model is tested, and which nobody trains on."""
        return dict(self.study.get("unseen") or {})

    def make_aggregator(self) -> FedAvg:
        """A fresh aggregator."""
        return make_aggregator(self.aggregator)


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
