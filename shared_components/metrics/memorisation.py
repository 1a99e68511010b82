"""Whether generated slices are copies of training slices, and whether they tell whose images were trained on.

A slice that was copied lies unusually near to *one* training slice. How near is usual, held-out slices of the same
client tell: they are new by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from shared_components.metrics.intervals import (
    Estimate,
    area_under_curve,
    area_with_interval,
    effective_count,
    share_below_quantile,
    wilson,
)

NEIGHBOURS = 50
TAIL = 0.01  # share of held-out slices below the threshold: what is expected of a factory that copies nothing
THINNINGS = 20  # random choices of as many training as held-out slices
BLOCK = 512  # queries at a time
FEWEST = (
    3  # patients on each side, below which slices are drawn in their place, and nothing should be concluded
)
FEWEST_HELD_OUT = 3  # slices that are not alike, below which no factory is flagged


class Nearest(NamedTuple):
    """For N queries their nearest references: distances and indices (N, count), the nearest first."""

    distance: Tensor
    index: Tensor


def nearest(queries: Tensor, references: Tensor, count: int = 1) -> Nearest:
    """The ``count`` Euclidean nearest of ``references`` (M, F) to each of ``queries`` (N, F)."""
    parts = [
        torch.topk(torch.cdist(block, references), min(count, len(references)), dim=1, largest=False)
        for block in queries.split(BLOCK)
    ]
    return Nearest(torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts]))


def distance_ratio(queries: Tensor, training: Tensor, neighbours: int = NEIGHBOURS) -> Nearest:
    r"""Distance to the nearest training slice over the mean distance to the ``neighbours`` nearest.

    .. math:: \rho(x) = d(x, t_1) \Big/ \frac1n \sum_{i=1}^n d(x, t_i)

    About 1 where no training slice is nearer than others, near 0 for a copy. Blur and noise change numerator and
    denominator alike, so that a blurred slice, which is near to everything, is not taken for a copy.

    Args:
        queries: (N, F).
        training: (M, F), M >= 2.
        neighbours: n, at most M.
    Returns:
        The ratio and the nearest training slice of each, (N, 1).
    Source: Carlini et al. 2023, Extracting Training Data from Diffusion Models, Sec. 5.2.
    """
    found = nearest(queries, training, neighbours)
    ratio = found.distance[:, :1] / found.distance.mean(1, keepdim=True).clamp_min(1e-12)
    return Nearest(ratio, found.index[:, :1])


class Memorisation(NamedTuple):
    """What :func:`memorisation` finds.

    Attributes:
        rate: share of generated slices that are memorised, with its Wilson interval.
        chance: the same of new slices, whose interval tells how well the threshold is known.
        flagged: whether more are memorised than chance explains.
        ratio: of each generated slice, (N,).
        index: its nearest training slice, (N,).
    """

    rate: Estimate
    chance: Estimate
    flagged: bool
    ratio: Tensor
    index: Tensor


def memorisation(
    generated: Tensor,
    training: Tensor,
    held_out: Tensor,
    patients: Tensor | None = None,
    neighbours: int = NEIGHBOURS,
    tail: float = TAIL,
) -> Memorisation:
    """Share of generated slices that are nearer to one training slice than nearly all held-out slices are.

    The threshold of :func:`distance_ratio` is its ``tail`` quantile over held-out slices. The factory is flagged
    where the interval of the rate lies above that of new slices' own share, as far as held-out slices tell it. Those
    of one patient count as one as far as their ratios are alike, and fewer than three flag nothing.

    Args:
        generated: slices or their features, (N, F).
        training: (M, F), M >= 2.
        held_out: (K, F) of subjects that are not in ``training``.
        patients: whose each held-out slice is, integers (K,); by default each is of its own.
        neighbours: see :func:`distance_ratio`.
        tail: share of held-out slices below the threshold.
    Source: the ratio is that of Carlini et al. 2023; calibration on held-out samples as in Meehan et al. 2020,
        A Non-Parametric Test to Detect Data-Copying in Generative Models.
    """
    found = distance_ratio(generated, training, neighbours)
    ratio, usual = found.distance[:, 0], distance_ratio(held_out, training, neighbours).distance[:, 0]
    threshold = torch.quantile(usual.double(), tail).item()
    rate = wilson((ratio < threshold).double().mean().item(), len(ratio))
    count = len(usual) if patients is None else effective_count(usual, patients)
    chance = share_below_quantile(tail, count)
    flagged = count >= FEWEST_HELD_OUT and rate.low > chance.high
    return Memorisation(rate, chance, flagged, ratio, found.index[:, 0])


def nearer_to_training(generated: Tensor, training: Tensor, held_out: Tensor, seed: int = 0) -> Estimate:
    """Share of generated slices whose nearest training slice is nearer than their nearest held-out slice.

    Of the larger set as many are taken as the smaller has, by chance and repeatedly, so that a half is expected where
    training and held-out slices are alike to the factory.
    """
    shares = torch.zeros(len(generated), dtype=torch.float64)
    for own, other in _thinned(generated, training, held_out, seed):
        shares += ((other - own).sign().double() + 1) / 2 / THINNINGS
    return wilson(shares.mean().item(), len(shares))


def nearest_distances(
    generated: Tensor, training: Tensor, held_out: Tensor, seed: int = 0
) -> tuple[float, float]:
    """Median distances of generated slices to their nearest training slice, and to their nearest held-out slice.

    Of as many slices of each, as for :func:`nearer_to_training`: the nearest of more slices is nearer by itself.
    """
    pairs = [
        [side.median().item() for side in pair] for pair in _thinned(generated, training, held_out, seed)
    ]
    own, other = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return own, other


def _thinned(
    generated: Tensor, training: Tensor, held_out: Tensor, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Distances (N,) of generated slices to the nearest of as many training and held-out slices, drawn repeatedly."""
    random, number = torch.Generator().manual_seed(seed), min(len(training), len(held_out))
    for _ in range(THINNINGS):
        chosen = [of[torch.randperm(len(of), generator=random)[:number]] for of in (training, held_out)]
        own, other = (nearest(generated, references).distance[:, 0] for references in chosen)
        yield own, other


def data_copying(generated: Tensor, training: Tensor, held_out: Tensor) -> float:
    r"""Meehan's :math:`C_T`: z-score (Mann–Whitney) of distances to the nearest training slice, generated against new.

    Far below 0 generated slices are nearer to the training slices than new ones are. Unlike :func:`memorisation` it
    takes smoother slices for copies, since they are nearer to everything.

    Source: Meehan et al. 2020, Sec. 3.1, with a single cell.
    """
    drawn, new = (nearest(queries, training).distance[:, 0] for queries in (generated, held_out))
    n, m = len(drawn), len(new)
    above = area_under_curve(drawn, new)
    return (above - 0.5) * n * m / (n * m * (n + m + 1) / 12) ** 0.5


def membership_inference(
    training: Tensor,
    held_out: Tensor,
    generated: Tensor,
    patients: tuple[Tensor, Tensor],
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve of an attack that takes slices near to a generated one for training slices.

    0.5: the attack tells nothing; 1: it always knows. The interval is that of a bootstrap over patients, where both
    sides have at least three, else over slices, which is too narrow.

    Args:
        training: slices or their features, (N, F).
        held_out: (M, F) of subjects that are not in ``training``.
        generated: (K, F), what the attacker has drawn.
        patients: whose each of ``training`` and ``held_out`` is, integers (N,) and (M,).
        seed: of the bootstrap.
    Source: Chen et al. 2020, GAN-Leaks, Sec. 4.2 (full black-box attack).
    """
    members, others = (-nearest(queries, generated).distance[:, 0] for queries in (training, held_out))
    if any(len(torch.unique(of)) < FEWEST for of in patients):
        patients = torch.arange(len(members)), torch.arange(len(others))
    return area_with_interval(members, others, patients, seed=seed)
