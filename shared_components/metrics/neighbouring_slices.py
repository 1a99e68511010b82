"""How smoothly a stack of slices scrolls."""

from __future__ import annotations

from torch import Tensor

from shared_components.errors import InputError


def neighbour_difference(volume: Tensor) -> float:
    """Mean absolute difference of neighbouring slices of a volume (..., D), in its own intensities.

    Compare it between volumes of the same depth: the further apart two slices lie, the more they differ.

    Raises:
        InputError: fewer than two slices.
    """
    if volume.dim() < 2 or volume.shape[-1] < 2:
        raise InputError(f"expected a volume of at least two slices (..., D), found {tuple(volume.shape)}")
    return volume.float().diff(dim=-1).abs().mean().item()
