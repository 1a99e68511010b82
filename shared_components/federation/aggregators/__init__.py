"""What a federation file names as its ``aggregator``: how updates become one, and what clients do for it."""

from __future__ import annotations

from shared_components.federation.aggregators.averaging import (
    FedAvg,
    FedBN,
    FedProx,
    FedSubAvg,
    make_aggregator,
)
from shared_components.federation.aggregators.robust import FedMedian, MultiKrum, NormBounded, TrimmedMean
from shared_components.federation.aggregators.server_optimizers import FedAdam, FedAvgM, ServerAverage

__all__ = [
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedBN",
    "FedMedian",
    "FedProx",
    "FedSubAvg",
    "MultiKrum",
    "NormBounded",
    "ServerAverage",
    "TrimmedMean",
    "make_aggregator",
]
