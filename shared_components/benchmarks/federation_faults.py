"""Faults of a federation's rounds, on either engine: whoever fails, nothing may hang and no whole round may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shared_components.benchmarks.client_faults import dead_sites, faults_in_turn
from shared_components.benchmarks.coordinator_faults import (
    coordinator_killed,
    full_disk,
    truncated_model,
    truncated_state,
)
from shared_components.benchmarks.fault_outcome import Outcome
from shared_components.benchmarks.faulty_federation import CERTIFICATES
from shared_components.errors import InputError
from shared_components.files import make_folder

ENGINES = ("local", "nvflare", CERTIFICATES)
GROUPS: dict[str, Callable[[Path, Path, str], Iterator[Outcome]]] = {
    "clients": faults_in_turn,
    "sites": dead_sites,
    "coordinator": coordinator_killed,
    "model": truncated_model,
    "state": truncated_state,
    "disk": full_disk,
}
"""Name to what breaks the smallest federation; each starts afresh."""


def federation_groups(engines: Sequence[str]) -> list[tuple[str, str]]:
    """Group and engine of what can be tried."""
    return [(group, engine) for group in GROUPS for engine in engines]


def federation_faults(folder: Path, data: Path, group: str, engine: str) -> list[Outcome]:
    """Break the smallest federation in one way on an engine, and tell of each outcome.

    Args:
        folder: for the runs.
        data: the phantoms of ``make_phantoms``.
        group: of :data:`GROUPS`.
        engine: of :data:`ENGINES`.
    Returns:
        What was seen; a run that fails where it may not, or hangs, is an outcome too.
    """
    began, outcomes = time.perf_counter(), []
    try:
        for outcome in GROUPS[group](make_folder(folder), data, engine):
            print(outcome, flush=True)
            outcomes.append(outcome)
    except InputError as error:
        outcomes.append(Outcome(f"group {group}", 1, "nothing", (str(error),), engine))
        print(outcomes[-1], flush=True)
    if outcomes:
        print(f"  {group}, {engine}: {time.perf_counter() - began:.0f} s", flush=True)
    return outcomes
