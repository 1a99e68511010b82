"""Federated training of any bundle: clients, aggregation, and the local engine.

Importing this package starts nothing and loads no bundle; ``federation.local`` holds the engine.
"""

from __future__ import annotations

from shared_components.federation.aggregation import FedAvg, federated_average

__all__ = ["FedAvg", "federated_average"]
