"""What runs in a worker process of the local engine: live clients, one task at a time.

Weights go through files in the run's folder; a task returns small numbers only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, input_error_in
from shared_components.federation.aggregation import to_blocks
from shared_components.federation.aggregators import make_aggregator
from shared_components.federation.client import FederatedClient
from shared_components.federation.federation import Federation
from shared_components.files import load_tensors, save_tensors

_clients: dict[str, FederatedClient] = {}  # of this process, by the client's folder


@dataclass(frozen=True)
class ClientPlan:
    """All that a worker needs to build a client.

    Attributes:
        folder: the client's own folder in the run's folder.
        bundle_root: the bundle's folder.
        config_files: config files, merged in order.
        overrides: ids and values that replace the config's.
        updates: the trainer's iterations in a round.
        aggregator: the federation's aggregator, as its config.
    """

    folder: str
    bundle_root: str
    config_files: tuple[str, ...]
    overrides: dict[str, Any]
    updates: int
    aggregator: dict[str, Any]


def client_plan(federation: Federation, name: str) -> ClientPlan:
    """What a worker builds ``name`` from."""
    overrides = federation.client_overrides(name)
    files = tuple(federation.config_files)
    return ClientPlan(
        folder=overrides["output_dir"],
        bundle_root=federation.bundle,
        config_files=files,
        overrides=overrides,
        updates=federation.updates_per_round,
        aggregator=federation.aggregator,
    )


def build(plan: ClientPlan, state_file: Path | None) -> int:
    """Build the client, load its state if it has one, and return its number of training images."""
    aggregator = make_aggregator(plan.aggregator)
    with _mendable_faults():
        client = FederatedClient(
            plan.bundle_root, plan.config_files, plan.overrides, plan.updates, aggregator
        )
    if state_file is not None:
        client.load_state(state_file)
    _clients[plan.folder] = client
    return client.images


def initial_weights(plan: ClientPlan, file: Path) -> None:
    """Write the weights with which the client was built."""
    save_tensors(file, {**to_blocks(_clients[plan.folder].shared_weights()), "round": 0})


def train(plan: ClientPlan, round: int, global_file: Path, update_file: Path) -> dict:
    """One round of the client: from the global weights to its update, both in files.

    Returns:
        ``images``, ``seconds`` and the metrics by name.
    """
    update = _clients[plan.folder].run_round(load_tensors(global_file)["model"])
    save_tensors(update_file, {**to_blocks(update.weights), "round": round})
    return {"images": update.images, "seconds": update.seconds, **update.metrics}


def remember(plan: ClientPlan, state_file: Path) -> None:
    """Write what the client keeps to itself; the engine aggregates in the meantime."""
    _clients[plan.folder].save_state(state_file)


def export(plan: ClientPlan, global_file: Path) -> bool:
    """Let the bundle write its deliverable from the global weights; whether it has one."""
    return _clients[plan.folder].export(load_tensors(global_file)["model"])


def forget(folder: str) -> None:
    """Drop a client, for an engine whose workers are threads of a process that lives on."""
    _clients.pop(folder, None)


@contextlib.contextmanager
def _mendable_faults() -> Iterator[None]:
    """MONAI wraps what a config's component raises, and the chain of causes ends at the process's border."""
    try:
        yield
    except RuntimeError as error:
        found = input_error_in(error)
        if found is None:
            raise
        raise InputError(str(found)) from error
