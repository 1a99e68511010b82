"""Intervals: of shares and statistics, as the number of samples leaves them open, and of differences of two methods.

Differences are between the same subjects, with a bootstrap interval over seeds and subjects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor

from shared_components.metrics.subject_scores import Values, client_seed_means, variant_means

DRAWS = 4000
LEVEL = 0.95
FEWEST_SEEDS = 3
"""Below them nothing is claimed: what another training would give is not known."""
CONFIDENCE = 1.959964  # standard deviations of a 95 % interval


class Interval(NamedTuple):
    """A mean and where it may lie.

    Attributes:
        mean: over clients of the means over seeds of the means over subjects.
        low, high: ends of the percentile interval of :data:`LEVEL`.
        seeds, clients: how many there are.
    """

    mean: float
    low: float
    high: float
    seeds: int
    clients: int

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side."""
        return self.low > 0 or self.high < 0

    @property
    def is_sure(self) -> bool:
        """Whether a difference of this interval may be claimed."""
        return self.excludes_zero and self.seeds >= FEWEST_SEEDS


@dataclass(frozen=True)
class Design:
    """What repeats when a whole experiment does.

    Attributes:
        same_subjects: all seeds are tried on the same subjects: these are drawn once for all seeds. Otherwise each
            seed has subjects of its own, which are drawn within it.
        draw_clients: clients are a sample too, such as hospitals of which each shows one person; otherwise they are
            those that there are.
    """

    same_subjects: bool = False
    draw_clients: bool = False


def paired_difference(
    values: Values, reference: Values, design: Design | None = None, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """``values`` - ``reference`` over the subjects that have both; None where there is none.

    Args:
        values, reference: of two methods.
        design: what is drawn.
        draws: of the bootstrap.
        seed: of the draws.
    """
    pairs = {subject: value - reference[subject] for subject, value in values.items() if subject in reference}
    return bootstrap(pairs, design or Design(), draws, seed) if pairs else None


def bootstrap(values: Values, design: Design | None = None, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean of the values and its percentile interval.

    In each draw seeds are drawn with replacement, the same for all clients, and within them the subjects of each
    client, each with all variants of the experiment in which it has a value: these are no subjects of their own. With a
    few seeds such an interval is too narrow rather than too wide.

    Args:
        values: of each subject, at least one.
        design: what is drawn.
        draws: how many.
        seed: of the draws: the same values always give the same interval.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
    """
    design, random, values = design or Design(), np.random.default_rng(seed), variant_means(values)
    seeds = sorted({subject.seed for subject in values})
    drawn = random.integers(len(seeds), size=(draws, len(seeds)))  # (draws, slots): a seed in each slot
    clients = list(client_seed_means(values))
    columns = []
    for client in clients:
        own = {s: value for s, value in values.items() if s.client == client}
        table = _table(own, seeds)
        draw = _crossed if design.same_subjects else _nested
        columns.append(draw(table, drawn, random))
    means = np.stack(columns, axis=1)  # (draws, clients)
    if design.draw_clients:
        means = np.take_along_axis(means, random.integers(len(clients), size=means.shape), axis=1)
    low, high = np.nanpercentile(_mean(means), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(_estimate(values), float(low), float(high), len(seeds), len(clients))


def _estimate(values: Values) -> float:
    means = client_seed_means(values)
    return float(np.mean([np.mean(list(seeds.values())) for seeds in means.values()]))


def _table(values: Values, seeds: list[int]) -> np.ndarray:
    """``(seeds, subjects)`` of one client, ``nan`` where a seed lacks a subject."""
    cases = sorted({subject.case for subject in values})
    table = np.full((len(seeds), len(cases)), np.nan)
    for subject, value in values.items():
        table[seeds.index(subject.seed), cases.index(subject.case)] = value
    return table


def _crossed(table: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Means ``(draws,)`` over drawn seeds and over subjects that are the same in all of a draw's seeds."""
    subjects = random.integers(table.shape[1], size=(len(drawn), table.shape[1]))
    return _mean(_mean(table[drawn[:, :, None], subjects[:, None, :]]))


def _nested(table: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Means ``(draws,)`` over drawn seeds of subjects drawn within each."""
    slots = np.full(drawn.shape, np.nan)
    for number, row in enumerate(table):
        own, places = row[np.isfinite(row)], np.nonzero(drawn == number)
        if len(own):
            slots[places] = own[random.integers(len(own), size=(len(places[0]), len(own)))].mean(axis=1)
    return _mean(slots)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, of what is there; ``nan`` where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class Estimate(NamedTuple):
    """A value with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def wilson(share: float, count: float) -> Estimate:
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
    low, high = centre - CONFIDENCE * spread, centre + CONFIDENCE * spread
    return Estimate(share, 0.0 if share == 0 else max(0.0, low), 1.0 if share == 1 else min(1.0, high))


def share_below_quantile(tail: float, count: float) -> Estimate:
    """The share of further cases below the ``tail`` quantile of ``count`` independent cases, with its 95 % interval.

    Of few cases that quantile is about the smallest, below which a further one may lie as well as not.

    >>> [round(value, 2) for value in share_below_quantile(0.01, 2)]
    [0.01, 0.01, 0.84]

    Raises:
        ValueError: no case.
    Source: the k-th of n ordered cases lies at a share that is Beta(k, n + 1 - k); David & Nagaraja 2003, Order
        Statistics, Sec. 2.1; k is interpolated as the quantile is.
    """
    if count < 1:
        raise ValueError(f"count: expected at least one case, found {count}")
    above = (count - 1) * tail
    low, high = (
        float(special.betaincinv(above + 1, count - above, share))
        for share in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
    )
    return Estimate(tail, min(low, tail), max(high, tail))


def effective_count(values: Tensor, groups: Tensor) -> float:
    r"""How many independent cases tell as much as these, of which those of a group may be alike.

    .. math:: n \big/ (1 + (m - 1) \rho), \quad m = \sum_g n_g^2 / n

    with the intraclass correlation :math:`\rho` of a one-way analysis of variance, at least 0; one group alone counts
    as one case, and cases that are groups of their own count all.

    >>> effective_count(torch.tensor([1.0, 1.0, 3.0, 3.0]), torch.tensor([0, 0, 1, 1]))
    2.0

    Args:
        values: (N,).
        groups: the group of each, integers (N,).
    Source: Kish 1965, Survey Sampling, Sec. 5.4.
    """
    _, place, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    n, k = len(values), len(sizes)
    if k in (1, n):
        return float(k)
    values, sizes = values.double(), sizes.double()
    means = torch.zeros_like(sizes).index_add_(0, place, values) / sizes
    within = ((values - means[place]) ** 2).sum() / (n - k)
    between = (sizes * (means - values.mean()) ** 2).sum() / (k - 1)
    size = (n - (sizes**2).sum() / n) / (k - 1)
    total = between + (size - 1) * within
    correlation = ((between - within) / total).clamp(0, 1).item() if total > 0 else 0.0
    return n / (1 + ((sizes**2).sum().item() / n - 1) * correlation)


def area_under_curve(positive: Tensor, negative: Tensor) -> float:
    """Probability that a score of ``positive`` (N,) is above one of ``negative`` (M,), ties counted half."""
    return (_wins(positive, negative).sum() / (len(positive) * len(negative))).item()


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
    members = [
        torch.bincount(of, minlength=number).double()
        for of, number in zip((rows, columns), size, strict=True)
    ]
    wins, counts = torch.zeros(size, dtype=torch.float64), members[0][:, None] * members[1]
    for column in range(size[1]):
        wins[:, column].index_add_(0, rows, _wins(positive, negative[columns == column]))
    random = torch.Generator().manual_seed(seed)
    drawn = [_multiplicities(number, draws, random) for number in size]  # (draws, groups)
    areas = ((drawn[0] @ wins) * drawn[1]).sum(1) / ((drawn[0] @ counts) * drawn[1]).sum(1)
    low, high = torch.quantile(areas, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate((wins.sum() / counts.sum()).item(), low, high)


def _wins(positive: Tensor, negative: Tensor) -> Tensor:
    """How many of ``negative`` (M,) each of ``positive`` (N,) is above, a tie counted half."""
    values, scores = positive.double().contiguous(), negative.double().sort().values
    below, up_to = (torch.searchsorted(scores, values, right=right).double() for right in (False, True))
    return (below + up_to) / 2


def _multiplicities(number: int, draws: int, random: torch.Generator) -> Tensor:
    """How often each of ``number`` groups is drawn when as many are drawn with replacement, (draws, number)."""
    drawn = torch.randint(number, (draws, number), generator=random)
    return torch.zeros(draws, number, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(draws, number, dtype=torch.float64)
    )
