"""Which updates of a round count: those of the right form, finite, and not absurdly large."""

from __future__ import annotations

from collections.abc import Mapping

from shared_components.errors import InputError
from shared_components.federation.aggregation import NamedTensors, check_finite, check_same_layout
from shared_components.federation.norms import l2_norm


def screen(
    updates: Mapping[str, NamedTensors], global_weights: NamedTensors, largest: float | None
) -> dict[str, str]:
    """Why updates are left out of their round.

    Args:
        updates: client -> name -> tensor, the clients' weights after the round.
        global_weights: name -> tensor, what the round began with; the layout that all must have.
        largest: an update whose difference from the global weights has a norm of more than so many times the
            median of the round's is left out; None: none is. Of an even number of updates the lower median counts.
    Returns:
        Client to the reason, in one line, for those that do not count.
    """
    refused: dict[str, str] = {}
    norms: dict[str, float] = {}
    for client in sorted(updates):
        try:
            check_same_layout(
                global_weights, updates[client], reference="the global model", found=f"client {client}"
            )
            check_finite(updates[client], "its update")
        except InputError as error:
            refused[client] = str(error).removeprefix(f"client {client}: ")
        else:
            norms[client] = l2_norm(updates[client], global_weights)
    if largest is None or not norms:
        return refused
    median = sorted(norms.values())[(len(norms) - 1) // 2]
    for client, norm in norms.items():
        if norm > largest * median > 0:
            refused[client] = (
                f"its update is {norm / median:.3g} times as large as the round's median update, "
                f"more than largest_update ({largest:g}); its training diverged or it was tampered with"
            )
    return refused
