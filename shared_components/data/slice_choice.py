"""Which slices of a volume are used, and the heights that each of them stands for."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise

from torch import Tensor

BACKGROUND = -0.9
"""Scaled intensity up to which a pixel counts as empty."""


def height_intervals(chosen: Sequence[int], depth: int) -> list[tuple[float, float]]:
    """The relative heights that are nearest to each chosen slice of a volume of ``depth``; NaN of a single slice.

    The lowest one's reach down to 0 and the highest one's up to 1, whatever is left out.
    """
    if depth == 1:
        return [(math.nan, math.nan)]
    between = [(low + high + 1) / (2 * depth) for low, high in pairwise(chosen)]
    return list(zip([0.0, *between], [*between, 1.0], strict=True))


def chosen_slices(
    image: Tensor, count: int | None, min_foreground: float, known: Collection[int] = ()
) -> list[int]:
    """Numbers of the non-empty slices of ``image`` ``(D, 1, H, W)``, or of ``count`` evenly spaced ones.

    Where only some have labels (``known``), these come first: a single annotated slice must not fall between.
    """
    filled = (image > BACKGROUND).flatten(1).float().mean(1)  # (D,)
    full = [i for i, fraction in enumerate(filled.tolist()) if fraction >= min_foreground]
    if count is None or count >= len(full):
        return full
    first = [i for i in full if i in known]
    others = [i for i in full if i not in known]
    chosen = _evenly(first, min(count, len(first)))
    return sorted(chosen + _evenly(others, count - len(chosen)))


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]
