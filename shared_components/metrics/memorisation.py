"""Whether generated slices are copies of training slices, and whether they tell whose images were trained on.

A slice that was copied lies unusually near to *one* training slice. How near is usual, held-out slices of the same
client tell: they are new by construction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shared_components.metrics.intervals import (
    LEVEL,
    Estimate,
    area_under_curve,
    area_with_interval,
    effective_count,
    share_below_quantile,
    wilson,
)

NEIGHBOURS = 50
TAIL = 0.01  # share of held-out slices below the threshold: what is expected of a factory that copies nothing
THINNINGS = 20  # random choices of as many training as held-out patients
DRAWS = 400  # of a bootstrap
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


class NearerTo(NamedTuple):
    """What :func:`nearer_to_training` finds.

    Attributes:
        share: of generated slices whose nearest training slice is nearer than their nearest held-out slice; a half is
            expected where training and held-out patients are alike to the factory.
        training: median distance of generated slices to their nearest training slice.
        held_out: the same to their nearest held-out slice.
    """

    share: Estimate
    training: float
    held_out: float


def nearer_to_training(
    generated: Tensor, training: Tensor, held_out: Tensor, patients: tuple[Tensor, Tensor], seed: int = 0
) -> NearerTo:
    """Whether generated slices are nearer to training than to held-out slices of as many patients.

    The nearest of more patients is nearer by itself: of the larger side as many patients are drawn as the smaller has,
    repeatedly. The interval is that of a bootstrap over patients, where both sides have at least three, else over
    slices, which is too narrow.

    Args:
        generated: slices or their features, (N, F).
        training: (M, F).
        held_out: (K, F) of subjects that are not in ``training``.
        patients: whose each of ``training`` and ``held_out`` is, integers (M,) and (K,).
        seed: of the draws.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, Sec. 8.3 (two samples).
    """
    sides = [
        _nearest_of_each(generated, references, groups)
        for references, groups in zip((training, held_out), _groups(patients), strict=True)
    ]
    number = min(side.shape[1] for side in sides)
    random = torch.Generator().manual_seed(seed)

    def drawn(side: Tensor, again: bool) -> Tensor:
        """The nearest of as many patients; of these drawn again with replacement, so that both sides lose as many."""
        kept = torch.randperm(side.shape[1], generator=random)[:number]
        return side[:, kept[torch.randint(number, (number,), generator=random)] if again else kept].amin(1)

    pairs = [[drawn(side, again=False) for side in sides] for _ in range(THINNINGS)]
    found = [[_share_nearer(own, other), own.median().item(), other.median().item()] for own, other in pairs]
    share, own, other = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    shares = [_share_nearer(*(drawn(side, again=True) for side in sides)) for _ in range(DRAWS)]
    low, high = np.percentile(shares, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]).tolist()
    return NearerTo(Estimate(share, min(low, share), max(high, share)), own, other)


def _share_nearer(own: Tensor, other: Tensor) -> float:
    """Share of distances (N,) below the others, a tie counted half."""
    return ((other - own).sign().double() + 1).mean().item() / 2


def _groups(patients: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Whose each slice is; a patient of its own each where one side has too few."""
    if any(len(torch.unique(of)) < FEWEST for of in patients):
        return torch.arange(len(patients[0])), torch.arange(len(patients[1]))
    return patients


def _nearest_of_each(queries: Tensor, references: Tensor, groups: Tensor) -> Tensor:
    """Distances of queries (N, F) to the nearest reference of each of G groups, (N, G)."""
    parts = [references[groups == group] for group in torch.unique(groups)]
    return torch.cat([nearest(queries, part).distance for part in parts], dim=1)


def data_copying(
    generated: Tensor, training: Tensor, held_out: Tensor, patients: Tensor | None = None
) -> float:
    r"""Meehan's :math:`C_T`: z-score (Mann–Whitney) of distances to the nearest training slice, generated against new.

    Far below 0 generated slices are nearer to the training slices than new ones are. Unlike :func:`memorisation` it
    takes smoother slices for copies, since they are nearer to everything.

    Args:
        generated: slices or their features, (N, F).
        training: (M, F).
        held_out: (K, F) of subjects that are not in ``training``.
        patients: whose each held-out slice is, (K,): those of one patient count as one as far as they are alike.
    Source: Meehan et al. 2020, Sec. 3.1, with a single cell.
    """
    drawn, new = (nearest(queries, training).distance[:, 0] for queries in (generated, held_out))
    n, m = len(drawn), len(new) if patients is None else effective_count(new, patients)
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
    return area_with_interval(members, others, _groups(patients), seed=seed)
