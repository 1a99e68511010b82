"""Averaging of each element over the clients that trained it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from shared_components.federation.aggregation import NamedTensors
from shared_components.federation.aggregators.averaging import FedAvg


class FedSubAvg(FedAvg):
    r"""FedAvg in which an element counts at those clients alone that moved it.

    .. math:: w \leftarrow w + \frac{\sum_c n_c\,(\theta_c - w)}{\sum_{c:\,\theta_c \ne w} n_c}

    An embedding of a client's own domain gets no gradient at the other clients. FedAvg takes their standstill for a
    vote and moves it by 1 / K of what its own client learnt; here it moves as its own client says. What all clients
    move is averaged as ever, and so are buffers that are no floats. Where noise is added to updates everything moves,
    and it is FedAvg.

    Source: Ding et al. 2022, Federated Submodel Optimization for Hot and Cold Data Features, NeurIPS.
    """

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        made = super().__call__(updates, weights, global_weights)
        return over_movers(made, updates, weights, global_weights)


def over_movers(
    made: NamedTensors,
    updates: Mapping[str, NamedTensors],
    weights: Mapping[str, float],
    global_weights: NamedTensors,
) -> dict[str, Tensor]:
    """The mean ``made`` of all clients' weights, of each element over those that moved it; see :class:`FedSubAvg`.

    Other arguments as of :class:`FedAvg`.
    """
    found, total = dict(made), sum(weights[client] for client in updates)
    for name, start in global_weights.items():
        if not start.is_floating_point():
            continue
        moved = sum(weights[client] * (updates[client][name] != start).double() for client in updates)
        whole = (moved == 0) | (moved == total)
        share = total / torch.where(whole, total, moved)
        change = (made[name].double() - start.double()) * share
        found[name] = torch.where(whole, made[name], (start.double() + change).to(start.dtype))
    return found
