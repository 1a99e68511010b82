"""An aggregator for clients that shall count alike."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from shared_components.federation.aggregators.aggregation import NamedTensors
from shared_components.federation.aggregators.averaging import FedAvg


class EqualClients(FedAvg):
    """The mean of the clients' weights, whatever their numbers of images: a small hospital is heard as a large one.

    Source: Li et al. 2020, On the Convergence of FedAvg on Non-IID Data (p_k = 1 / N), arXiv:1907.02189.
    """

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        """Arguments, result and errors as of :class:`FedAvg`."""
        return super().__call__(updates, dict.fromkeys(updates, 1.0), global_weights)
