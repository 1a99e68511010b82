"""Shares and statistics with the interval that the number of samples leaves open."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

CONFIDENCE = 1.959964  # standard deviations of a 95 % interval


class Estimate(NamedTuple):
    """A value with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def wilson(share: float, count: int) -> Estimate:
    """A share of ``count`` independent cases with Wilson's score interval.

    >>> [round(value, 3) for value in wilson(0.0, 10)]
    [0.0, 0.0, 0.278]

    Raises:
        ValueError: no case.
    Source: Wilson 1927.
    """
    if count < 1:
        raise ValueError(f"count: expected at least one case, found {count}")
    square = CONFIDENCE**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return Estimate(share, max(0.0, centre - CONFIDENCE * spread), min(1.0, centre + CONFIDENCE * spread))


def area_under_curve(positive: Tensor, negative: Tensor) -> float:
    """Probability that a score of ``positive`` (N,) is above one of ``negative`` (M,), ties counted half."""
    return _wins(positive, negative).mean().item()


def area_with_interval(
    positive: Tensor,
    negative: Tensor,
    groups: tuple[Tensor, Tensor],
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """:func:`area_under_curve` with its bootstrap interval, in which whole groups are drawn.

    Scores of one group (slices of one volume) are alike, so that drawing them one by one would claim too much.

    Args:
        positive: scores (N,).
        negative: scores (M,).
        groups: the group of each of ``positive`` (N,) and of ``negative`` (M,), integers.
        draws: of the bootstrap.
        seed: of the draws.
    """
    rows, columns = (torch.unique(of, return_inverse=True)[1] for of in groups)
    size = int(rows.max()) + 1, int(columns.max()) + 1
    wins, counts = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    places = (rows[:, None] * size[1] + columns[None]).flatten()
    found = _wins(positive, negative)
    wins.view(-1).index_add_(0, places, found.flatten())
    counts.view(-1).index_add_(0, places, torch.ones_like(found).flatten())
    random = torch.Generator().manual_seed(seed)
    drawn = [_multiplicities(number, draws, random) for number in size]  # (draws, groups)
    areas = ((drawn[0] @ wins) * drawn[1]).sum(1) / ((drawn[0] @ counts) * drawn[1]).sum(1)
    low, high = torch.quantile(areas, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(found.mean().item(), low, high)


def _wins(positive: Tensor, negative: Tensor) -> Tensor:
    difference = positive.double()[:, None] - negative.double()[None]
    return (difference.sign() + 1) / 2  # (N, M): 1, 0, or a half for a tie


def _multiplicities(number: int, draws: int, random: torch.Generator) -> Tensor:
    """How often each of ``number`` groups is drawn when as many are drawn with replacement, (draws, number)."""
    drawn = torch.randint(number, (draws, number), generator=random)
    return torch.zeros(draws, number, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(draws, number, dtype=torch.float64)
    )
