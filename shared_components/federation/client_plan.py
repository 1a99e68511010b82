"""All that a site needs to build its client of a federation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.federation.exchange import Exchange
from shared_components.federation.federation import Federation
from shared_components.federation.privacy import Privacy


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

    def state_file(self, round: int) -> Path:
        """The client's state after ``round``."""
        return Path(self.folder) / f"state.{round}.pt"


def client_plan(federation: Federation, name: str) -> ClientPlan:
    """What a site builds ``name`` from."""
    overrides = federation.client_overrides(name)
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
    )
