"""What a whole round leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from shared_components.errors import InputError
from shared_components.files import load_tensors


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


def read_committed(file: Path, cure: str) -> Committed:
    """What :meth:`RunFolder.commit` wrote.

    Args:
        file: with the global model of a round.
        cure: what to do about a damaged one, in words that follow a semicolon.
    Raises:
        InputError: it is missing, damaged or holds something else.
    """
    if not file.is_file():
        raise InputError(f"{file}: expected the last whole round, found no file; {cure}")
    content = load_tensors(file, cure=cure)
    if not {"round", "model", "states"} <= set(content):
        raise InputError(f"{file}: expected the last whole round, found other tensors; {cure}")
    return Committed(content["round"], content["model"], content["states"], content.get("aggregator", {}))
