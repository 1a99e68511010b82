"""All that a site needs to build its client of a federation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.demand import Demand
from shared_components.federation.exchange import Exchange
from shared_components.federation.federation import Federation
from shared_components.federation.privacy import Privacy

BUDGET = "spent.json"


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
        budget: file for what the site has spent in whatever federation; by default one of this run.
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
        budget=budget or str(Path(overrides["output_dir"]) / BUDGET),
        went_before=went_before,
        start=federation.start or "",
    )
