"""A federation: who trains which bundle together, and how long; what each client needs to know of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from shared_components.errors import InputError
from shared_components.federation.aggregators import FedAvg, make_aggregator
from shared_components.federation.client_entry import Client, Demand
from shared_components.federation.exchange import Exchange
from shared_components.federation.privacy import Privacy

BUDGET = "spent.json"


@dataclass(frozen=True)
class Federation:
    """What a federation file says, validated; all paths are absolute.

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
        min_clients: how many of them must answer, or the run ends at its last whole round.
        round_timeout: seconds after which a client's round has failed; None: never.
        largest_update: an update so many times as large as the round's median is left out; None: none is.
        aggregator: its config, with ``_target_``.
        exchange: what travels, in which type.
        privacy: how clients protect what they send; None: not at all.
        overrides: ids and values that replace those of the bundle's config at every client.
        engine: ``local`` or ``nvflare``.
        workers: processes of the local engine; 0 runs every client in the calling process.
        threads_per_worker: torch's threads in each process.
        start: a file or the folder of a run that the federation goes on from; None: it begins anew.
        output_dir: the run's folder.
        seed: client i of the sorted names trains with seed + i.
        versions: ``agree``: packages that matter are the same at all clients but for the patch; ``warn``: need not be.
        study: settings of the whole flow, kept as they are.
        beside: the folder of the federation file, for paths in ``study``; it is no key of that file.
        budgets: the folder of what sites have spent, of several trainings together; empty: each has its own. No key.
        answering: ``min_clients`` as the file has it, ``most``, ``all`` or a number. No key.
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
    min_clients: int
    round_timeout: float | None
    largest_update: float | None
    aggregator: dict[str, Any]
    exchange: Exchange
    privacy: Privacy | None
    overrides: dict[str, Any]
    engine: str
    workers: int
    threads_per_worker: int
    start: str | None
    output_dir: str
    seed: int
    versions: str
    study: dict[str, Any]
    beside: str = field(default="", compare=False)
    budgets: str = field(default="", compare=False)
    answering: int | str = field(default="most", compare=False)

    @property
    def config_files(self) -> list[str]:
        """The bundle's config files, absolute."""
        return [str(Path(self.bundle) / "configs" / name) for name in self.configs]

    def least_of(self, drawn: int) -> int:
        """How many of so many drawn clients must answer, by the file's ``min_clients``."""
        if isinstance(self.answering, int):
            return min(self.answering, drawn)
        return drawn if self.answering == "all" else drawn // 2 + 1

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, as a federation file has them."""
        clients = {
            name: {**client.own, "data_root": client.data_root, "domain": client.domain}
            for name, client in self.clients.items()
        }
        lists = {"configs": list(self.configs), "domains": list(self.domains)}
        plain = {key: value for key, value in asdict(self).items() if key in KEYS}
        return {**plain, **lists, "clients": clients}

    def as_yaml(self) -> str:
        """The resolved federation file."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    def client_overrides(self, client: str) -> dict[str, Any]:
        """The ids and values with which ``client`` builds the bundle (beside its config files)."""
        labels = {} if self.labels is None else {"labels": dict(self.labels)}
        roots = self.clients[client].data_root  # none where the data lie elsewhere
        return {
            "quiet": True,  # the engine reports rounds; several clients' own bars would write over each other
            **self.overrides,
            **labels,
            "bundle_root": self.bundle,
            **({"dataset_dir": roots} if roots else {}),
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

    def make_aggregator(self) -> FedAvg:
        """A fresh aggregator."""
        return make_aggregator(self.aggregator)


KEYS = tuple(each.name for each in fields(Federation) if each.name not in ("beside", "budgets", "answering"))
"""Of a federation file."""


@dataclass(frozen=True)
class ClientPlan:
    """What a client is built from, wherever it is.

    Attributes:
        name: the client's name in the federation.
        folder: the client's own folder at its site.
        bundle_root: the bundle's folder.
        config_files: config files, merged in order.
        overrides: ids and values that replace the config's.
        updates: the trainer's iterations in a round.
        aggregator: the federation's aggregator, as its config.
        exchange: what travels, in which type.
        privacy: how the client protects what it sends; None: not at all.
        demand: what its site demands of that.
        budget: the file in which the site counts what it has spent.
        went_before: the state that the client kept of the run that the federation goes on from; empty: it begins anew.
        start: what the federation goes on from, at this site; empty: nothing.
    """

    name: str
    folder: str
    bundle_root: str
    config_files: tuple[str, ...]
    overrides: dict[str, Any]
    updates: int
    aggregator: dict[str, Any]
    exchange: Exchange
    privacy: Privacy | None
    demand: Demand | None
    budget: str
    went_before: str = ""
    start: str = ""

    def state_file(self, round: int) -> Path:
        """The client's state after ``round``."""
        return Path(self.folder) / f"state.{round}.pt"


def client_plan(
    federation: Federation,
    name: str,
    demand: Demand | None = None,
    budget: str | None = None,
    went_before: str = "",
) -> ClientPlan:
    """What a site builds ``name`` from.

    Args:
        federation: of the client.
        name: the client's.
        demand: its site's; by default what stands in its entry of the federation file.
        budget: file for what the site has spent in whatever federation; by default one of this run, or of its study.
        went_before: what it kept of the run that the federation goes on from, as :func:`own_state` says.
    Raises:
        InputError: its site demands more privacy.
    """
    overrides = federation.client_overrides(name)
    demand = demand or federation.clients[name].demand
    unmet = "" if demand is None else demand.unmet(federation.privacy)
    if unmet:
        raise InputError(unmet)
    return ClientPlan(
        name=name,
        folder=overrides["output_dir"],
        bundle_root=federation.bundle,
        config_files=tuple(federation.config_files),
        overrides=overrides,
        updates=federation.updates_per_round,
        aggregator=federation.aggregator,
        exchange=federation.exchange,
        privacy=federation.privacy,
        demand=demand,
        budget=budget or str(Path(federation.budgets or Path(overrides["output_dir"]).parent, name, BUDGET)),
        went_before=went_before,
        start=federation.start or "",
    )
