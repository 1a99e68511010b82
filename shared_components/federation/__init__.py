"""Federated training of any bundle: clients, aggregation, and the local engine.

Importing this package starts nothing and loads no bundle; ``federation.local`` holds the engine.
"""

from __future__ import annotations

from shared_components.federation.aggregation import federated_average
from shared_components.federation.aggregators import FedAvg, FedBN, FedProx

__all__ = ["FedAvg", "FedBN", "FedProx", "federated_average"]
