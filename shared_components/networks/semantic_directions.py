"""Directions of w that change the picture most, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.networks.generator import Generator


class Directions(NamedTuple):
    """Unit vectors (n, w_dim), the strongest first, and the share of each in what all directions change, (n,)."""

    vectors: Tensor
    shares: Tensor


@torch.no_grad()
def semantic_directions(generator: Generator, rows: Sequence[int] | None = None) -> Directions:
    r"""All w_dim directions n, by how much they change the styles: eigenvectors of :math:`A^\top A`.

    A is the stack of the style layers' weights, as they act. No image and no label is needed; what a direction means
    shows when it is drawn. Signs are chosen so that each vector's largest number is positive.

    Args:
        generator: the factory's.
        rows: first and last row of W+ whose layers count; None: all. Coarse rows shape anatomy, fine rows the look.
    Returns:
        Directions on the CPU.
    Raises:
        InputError: rows that W+ does not have.
    Source: Shen & Zhou 2021, Eq. 7 (SeFa).
    """
    first, last = checked_rows(generator, rows)
    weights = [weight for row in range(first, last + 1) for weight in style_weights(generator, row)]
    stacked = torch.cat(weights).cpu().double()
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    vectors = vectors.T.flip(0)
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    shares = values.flip(0).clamp_min(0)
    return Directions((vectors * largest.sign()).float(), (shares / shares.sum()).float())


def style_weights(generator: Generator, row: int) -> list[Tensor]:
    """Weights (C_in, w_dim) that turn a row of W+ into styles: its 3×3 layer's, if any, and its to-image layer's."""
    layers = [layer.convolution for layer in generator.layers][row : row + 1]
    layers += list(generator.to_image)[row // 2 : row // 2 + 1] if row % 2 else []
    return [layer.affine.weight * layer.affine.scale for layer in layers]


def checked_rows(generator: Generator, rows: Sequence[int] | None) -> tuple[int, int]:
    """First and last row; all of W+ for None.

    Raises:
        InputError: rows that W+ does not have.
    """
    first, last = (0, generator.rows - 1) if rows is None else rows
    if not 0 <= first <= last < generator.rows:
        raise InputError(
            f"direction_rows: expected [first, last] within the factory's rows 0 to {generator.rows - 1}, "
            f"found {list(rows)}"
        )
    return first, last
