"""A deliverable that has come from a client, against the global weights from which it was to be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from shared_components.errors import InputError, shown
from shared_components.federation.aggregators.aggregation import NamedTensors, has_mean


def check_deliverable(content: Any, weights: NamedTensors) -> None:
    """Refuse a deliverable with other weights than the global ones, whichever aggregator has made these.

    A bundle may export a module of its network, whose names begin further left there, its network in another module,
    or an average of a module in its place. Of names that are no exchanged tensor's, such as those of what clients
    keep, nothing is known; where no name of a state dict is one, what has the shape of an exchanged tensor must be one.

    Args:
        content: of the file.
        weights: name to tensor, the global ones; whole numbers, such as counts, are not compared.
    Raises:
        InputError: a tensor of it is another one.
    """
    floating = {name: tensor for name, tensor in weights.items() if has_mean(tensor)}
    for found in _state_dicts(content):
        named = _alike(found, floating)
        if not any(named.values()):
            named = {n: _of_its_shape(t, floating) for n, t in found.items() if has_mean(t)}
        for name, expected in named.items():
            if expected and not any(_same(found[name], tensor) for tensor in expected):
                raise InputError(
                    f"{shown(name)} of its deliverable: expected the global weights of all clients, found others; let "
                    "another client write it, or the bundle's federation::export the exchanged weights as they are"
                )


def _state_dicts(content: Any) -> Iterator[dict[str, Tensor]]:
    """Every dict in a file that holds tensors, with these alone."""
    waiting, seen = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, Mapping | list | tuple) or id(value) in seen:
            continue
        seen.add(id(value))  # a file may hold a list within itself
        items = value if isinstance(value, Mapping) else dict(enumerate(value))
        waiting += items.values()
        yield {str(name): tensor for name, tensor in items.items() if isinstance(tensor, Tensor)}


def _alike(found: NamedTensors, weights: NamedTensors) -> dict[str, list[Tensor]]:
    """Name in a state dict to the global tensors that it may stand for; none of a name that is no exchanged tensor's.

    Names are compared as a whole, or by their ends where none is known as a whole. What a name below its module is an
    end of may stand there in its place, such as an average of the module.
    """
    known = found.keys() & weights.keys()
    return {name: _meant(name, weights) if name in known or not known else [] for name in found}


def _meant(name: str, weights: NamedTensors) -> list[Tensor]:
    ours = {o for o in weights if o == name or o.endswith(f".{name}") or name.endswith(f".{o}")}
    below = name.partition(".")[2] or name
    return [w for other, w in weights.items() if ours and (other in ours or other.endswith(f".{below}"))]


def _of_its_shape(tensor: Tensor, weights: NamedTensors) -> list[Tensor]:
    return [w for w in weights.values() if w.shape == tensor.shape and w.numel() > 1]


def _same(tensor: Tensor, expected: Tensor) -> bool:
    """Whether it is the same, in a narrower type perhaps; a tensor without values is nothing's."""
    if tensor.is_meta or not has_mean(tensor) or tensor.shape != expected.shape:
        return False
    return torch.equal(tensor, expected.to(tensor.dtype))
