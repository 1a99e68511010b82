"""How long named tensors are, or how far from others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shared_components.federation.aggregation import NamedTensors

SUMMED = 2**14  # elements that torch sums in one thread, so that norms do not depend on how many it has


def l2_norm(tensors: NamedTensors, reference: NamedTensors | None = None) -> float:
    """Euclidean norm of all floating point and complex elements together, in float64.

    Args:
        tensors: name -> tensor; integers and booleans, whose change has no length, do not count.
        reference: name -> tensor, of the same layout: the norm is that of the difference; None: of the tensors.
    """
    squares = []
    for name in sorted(tensors):
        if has_mean(tensors[name]):
            squares += _squares(tensors[name], None if reference is None else reference[name])
    return math.sqrt(math.fsum(squares))


def has_mean(tensor: Tensor) -> bool:
    """Whether it is of floating point or complex numbers."""
    return tensor.is_floating_point() or tensor.is_complex()


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float64, or complex128."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _squares(tensor: Tensor, reference: Tensor | None) -> list[float]:
    """The sum of squares of each stretch of a tensor, less another."""
    pieces = map(wide, _stretches(tensor))  # one at a time, which stays in the processor's cache
    if reference is not None:
        pieces = map(torch.sub, pieces, map(wide, _stretches(reference)))
    return [piece.abs().square().sum().item() for piece in pieces]


def _stretches(tensor: Tensor) -> tuple[Tensor, ...]:
    return tensor.detach().reshape(-1).split(SUMMED)
