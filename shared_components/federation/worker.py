"""What runs in a worker process of the local engine: live sites, one task at a time.

Weights go through files in the run's folder; a task returns small numbers only.
"""

from __future__ import annotations

from pathlib import Path

from shared_components.federation.aggregators.aggregation import to_blocks
from shared_components.federation.federation import ClientPlan
from shared_components.federation.site import Site
from shared_components.files import load_tensors, save_tensors

_sites: dict[str, Site] = {}  # of this process, by the client's folder


def site(plan: ClientPlan) -> Site:
    """The site in this process, with whatever client lives there."""
    return _sites.setdefault(plan.folder, Site(plan))


def build(plan: ClientPlan, round: int) -> dict[str, float]:
    """Build the client in its state after ``round``."""
    _sites[plan.folder] = Site(plan)  # of an earlier run in this process there may be another
    return {"images": site(plan).build(round)}


def initial_weights(plan: ClientPlan, file: Path) -> None:
    """Write the weights with which the client was built.

    Raises:
        InputError: it has trained since.
    """
    save_tensors(file, {**to_blocks(site(plan).shared_weights()), "round": 0})


def train(
    plan: ClientPlan, round: int, before: int, global_file: Path, update_file: Path
) -> dict[str, float]:
    """One round of the client: from the global weights to its update, both in files.

    Returns:
        ``images``, ``seconds`` and the metrics by name.
    """
    weights = plan.exchange.broadcast(load_tensors(global_file)["model"])
    update = site(plan).train(round, before, weights)
    save_tensors(update_file, {**to_blocks(update.weights), "round": round})
    return update.values


def remember(plan: ClientPlan, round: int) -> None:
    """Write what the client keeps to itself; the engine aggregates in the meantime."""
    site(plan).remember(round)


def export(plan: ClientPlan, global_file: Path, round: int) -> dict[str, float]:
    """Let the bundle write its deliverable from the global weights."""
    return {"exported": site(plan).export(load_tensors(global_file)["model"], round)}


def forget(folder: str) -> None:
    """Drop a site, for an engine whose workers are threads of a process that lives on."""
    _sites.pop(folder, None)


def forget_all() -> None:
    """Drop every site, for a process that goes on to other work."""
    _sites.clear()
