"""The aggregator that a federation file names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.aggregators.averaging import FedAvg


def make_aggregator(config: Mapping[str, Any]) -> FedAvg:
    """The aggregator of a config with ``_target_``.

    Raises:
        InputError: it is none, that is, no subclass of :class:`FedAvg`.
    """
    from monai.bundle import (
        ConfigParser,
    )  # seconds, which processes that only pass messages on need not spend

    aggregator = ConfigParser({"aggregator": dict(config)}).get_parsed_content("aggregator")
    if not isinstance(aggregator, FedAvg):
        raise InputError(
            f"'aggregator': expected a subclass of shared_components.federation.FedAvg, found {aggregator!r}"
        )
    return aggregator
