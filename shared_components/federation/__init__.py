"""Federated training of any bundle: clients, aggregation, and the local engine.

Importing this package starts nothing and loads no bundle; ``federation.local`` holds the engine.
"""

from __future__ import annotations

from shared_components.federation.aggregators import (
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedMedian,
    FedProx,
    FedSubAvg,
    MultiKrum,
    NormBounded,
    ServerAverage,
    TrimmedMean,
)
from shared_components.federation.aggregators.aggregation import federated_average

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
    "federated_average",
]
