"""What a whole round leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Committed:
    """A whole round.

    Attributes:
        round: its number; 0 before the first.
        weights: the global weights after it, name to tensor.
        states: client to the round after which it has the state that goes with them; 0: as it began.
        aggregator: state of the aggregator, if it has one.
    """

    round: int
    weights: dict[str, Tensor]
    states: dict[str, int]
    aggregator: Mapping[str, Any] = field(default_factory=dict)
