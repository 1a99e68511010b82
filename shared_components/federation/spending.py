"""What the updates of a run's clients have spent, by the run's folder, and what they had spent before it began.

Runs may have noise of different multipliers z, so what adds up over several is no number of updates but the sum of
:math:`(2 / z)^2` over all of them, as ``Budget`` keeps it (see ``privacy.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_components.federation.budget import LEDGER, Budget, Ledger
from shared_components.federation.federation import BUDGET
from shared_components.federation.file_digests import digest
from shared_components.federation.rounds_log import released
from shared_components.records import read_record

ROUNDS, RELEASED, START = "rounds.csv", "released.json", "start.json"  # in the folder of a run
CURE = "put a copy of it back, or start over with --force"


def released_in(root: Path) -> dict[str, int]:
    """Client to how many updates with noise have left it since the run was last begun with ``--force``, also for
    clients that take part no longer: by its own ledger or by the rounds, whichever tells of more.

    Raises:
        InputError: the table of rounds, or what a client or the run has counted, is damaged.
    """
    counts = released_in_rounds(root)
    for place in sorted((root / "clients").glob(f"*/{LEDGER}")):
        client, number = place.parent.name, Ledger(place.parent).noised
        if number > counts.get(client, 0):
            counts[client] = number
    return counts


def released_in_rounds(root: Path) -> dict[str, int]:
    """The same by the rounds alone, all that there were."""
    noted = read_record(root / RELEASED, CURE, sealed=True) if (root / RELEASED).exists() else {}
    if noted and noted["rounds"] == digest(root / ROUNDS):  # stopped before they were removed
        return dict(noted["counts"])
    return released(root / ROUNDS, noted.get("counts"))


def spent_in(root: Path, settings: Mapping[str, Any]) -> dict[str, float]:
    """Client to what its updates have spent in a run alone, without what the run went on from.

    Args:
        root: the run's folder.
        settings: of the run.
    Raises:
        InputError: see :func:`released_in`.
    """
    noise = (settings.get("privacy") or {}).get("noise")
    if not noise:
        return {}
    return {client: number * (2 / noise) ** 2 for client, number in released_in(root).items()}


def spent_before(root: Path) -> dict[str, float] | None:
    """Client to what it had spent when a run began, which goes on from another; None where nothing is noted of it.

    Raises:
        InputError: what the run keeps of its start is damaged.
    """
    file = root / START
    return read_record(file, CURE, sealed=True).get("spent") if file.exists() else None


def spent_at_site(root: Path, client: str) -> float:
    """What the budget of a client's site holds that lies in a run's folder, or in that of its study.

    Raises:
        InputError: it is damaged.
    """
    places = (root / "clients" / client, root.parent / "budgets" / client)
    return max(Budget(place / BUDGET).squares for place in places)
