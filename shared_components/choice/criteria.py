"""What can be said for a segmentation model on images that nobody has labelled, and the choice by what is said.

Two verdicts choose (see :func:`chosen`): shapes like those of labelled volumes, after the question whether a
segmentation could be right (Valindria et al. 2017), and borders that lie on edges of the image, the disparity of
regions by which segmentations were judged before there were labels to judge them by (Zhang et al. 2008). Two are told
beside them: agreement with the mean of all candidates, the ensemble-based validation of Hu et al. 2023 (EnsV); and
steadiness under small changes of the image, the consistency that semi-supervised learning rests on (Tarvainen and
Valpola 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared_components.choice.shapes import implausibility, shapes
from shared_components.networks.flips import mirrored_scores

BATCH = 32  # slices at a time
GAMMAS = (0.8, 1.25)  # of the changed views
FEWEST = 4  # pixels on each side of a border that is worth measuring
NOISE = 0.01  # of intensities in [-1, 1]: no edge is stronger than a difference in its terms
MARGIN = 0.5  # deviations by which shapes may be less plausible than the most plausible candidate's
PARTNER = 0.8  # share of the clearest edges from which the next candidate answers together with the clearest
ALIKE = 0.6  # Dice of two candidates' segmentations, below which they find different things


class Verdict(NamedTuple):
    """What the unlabelled images say about a candidate.

    Attributes:
        implausibility: distance of the shapes from those of labelled volumes, in deviations; 0 is best.
        edges: how far intensities differ between the two sides of its borders, in deviations along them; mean over
            slices, then classes.
        steadiness: mean Dice, over classes and views, of its segmentations of a slice and of mildly changed copies.
        agreement: mean Dice, over classes, of its segmentations with those of all candidates' mean.
    """

    implausibility: float
    edges: float
    steadiness: float
    agreement: float


class Opinion(NamedTuple):
    """What a candidate makes of some slices.

    Attributes:
        labels: the likeliest class, by the mean over slices as they are and mirrored, (N, H, W) uint8.
        probabilities: that mean, (N, C, H, W) float16.
        steadiness: see :class:`Verdict`.
    """

    labels: Tensor
    probabilities: Tensor
    steadiness: float


@torch.no_grad()
def opinion(network: nn.Module, images: Tensor) -> Opinion:
    """Segment slices as they are, and in views that differ by nothing that matters.

    Args:
        network: (B, 1, H, W) to class scores (B, C, H, W), for inference.
        images: the slices, (N, 1, H, W) in [-1, 1].
    """
    device = next(network.parameters()).device
    labels, probabilities, counts = [], [], []
    for batch in images.split(BATCH):
        part = batch.to(device)
        plain, mirrored = (mirrored_scores(network, part, axes).float().softmax(1) for axes in ([], [0]))
        mean = (plain + mirrored) / 2
        best = mean.argmax(1)
        views = [plain, mirrored, *(network(with_gamma(part, gamma)) for gamma in GAMMAS)]
        counts.append(torch.stack([_overlaps(view.argmax(1), best, mean.shape[1]) for view in views]))
        labels.append(best.to("cpu", torch.uint8))
        probabilities.append(mean.to("cpu", torch.float16))
    common, total = torch.stack(counts).sum(0).double().cpu().unbind(-1)  # (views, classes)
    dice = torch.where(total > 0, 2 * common / total.clamp_min(1), 1.0)
    return Opinion(torch.cat(labels), torch.cat(probabilities), float(dice.mean()))


def with_gamma(images: Tensor, gamma: float) -> Tensor:
    """Slices in [-1, 1] whose intensities above air are raised to a power."""
    return ((images + 1) / 2).clamp_min(0).pow(gamma) * 2 - 1


def _overlaps(first: Tensor, second: Tensor, classes: int) -> Tensor:
    """For each class but the background the pixels that two label maps share, and those of both, (C - 1, 2)."""
    pairs = [(first == value, second == value) for value in range(1, classes)]
    return torch.stack([torch.stack([(a & b).sum(), a.sum() + b.sum()]) for a, b in pairs])


def mean_dice(first: Tensor, second: Tensor, classes: Sequence[int]) -> float:
    """Dice of two label maps of any one shape, mean over ``classes``; 1 where neither has the class."""
    found = []
    for value in classes:
        a, b = first == value, second == value
        total = int(a.sum() + b.sum())
        found.append(2 * int((a & b).sum()) / total if total else 1.0)
    return float(np.mean(found))


def edge_strength(images: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """How far intensities differ between the inner and the outer side of the borders of classes.

    Of each slice the difference of the two means, over the deviation along the two sides; the mean over slices that
    show the class, 0 for a class that none shows, and the mean over classes.

    Args:
        images: (N, 1, H, W) in [-1, 1].
        labels: (N, H, W).
        classes: label values.
    """
    return float(np.mean([_edge(images[:, 0], labels == value) for value in classes]))


def _edge(images: Tensor, mask: Tensor) -> float:
    inside, outside = mask & _grown(~mask), ~mask & _grown(mask)
    shown = (inside.sum((1, 2)) >= FEWEST) & (outside.sum((1, 2)) >= FEWEST)
    if not shown.any():
        return 0.0
    (first, spread), (second, other) = (_moments(images[shown], side[shown]) for side in (inside, outside))
    return float(((first - second).abs() / ((spread + other) / 2 + NOISE**2).sqrt()).mean())


def _grown(mask: Tensor) -> Tensor:
    """By one pixel in all eight directions."""
    return functional.max_pool2d(mask[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0


def _moments(images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each slice where ``mask`` is, (N,)."""
    count = mask.sum((1, 2))
    mean = (images * mask).sum((1, 2)) / count
    return mean, (((images - mean[:, None, None]) * mask) ** 2).sum((1, 2)) / count


def verdicts(
    opinions: Mapping[str, Opinion],
    together: Tensor,
    images: Tensor,
    volumes: Tensor,
    classes: Sequence[int],
    spacing: float | Sequence[float] | None,
    known: Sequence[Mapping[str, Mapping[str, float]]],
    places: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> dict[str, Verdict]:
    """Candidate to what is said for it.

    Args:
        opinions: of each candidate on the same slices; their probabilities are not looked at.
        together: the likeliest class by the mean of all candidates, (N, H, W).
        images: the slices, (N, 1, H, W) in [-1, 1].
        volumes: number of the volume that each slice is of, (N,); a volume's slices are in order.
        classes: label values but the background's, which are the networks' channels from 1 on.
        spacing: size of a pixel, mm.
        known: shapes of labelled volumes, see :func:`~shared_components.choice.shapes.read_shapes`.
        places: of a volume of which some slices are left out, the numbers of those that are there.
    """
    found = {}
    for name, one in opinions.items():
        shaped = [
            shapes(one.labels[volumes == volume].numpy(), classes, spacing, places.get(volume))
            for volume in volumes.unique().tolist()
        ]
        found[name] = Verdict(
            implausibility(shaped, known),
            edge_strength(images, one.labels, classes),
            one.steadiness,
            mean_dice(one.labels, together, classes),
        )
    return found


def plausible(verdicts: Mapping[str, Verdict], margin: float | None = MARGIN) -> list[str]:
    """Candidates whose shapes are about as plausible as the best one's, in their order; without a margin all."""
    if margin is None:
        return [*verdicts]
    best = min(verdict.implausibility for verdict in verdicts.values())
    return [name for name, verdict in verdicts.items() if verdict.implausibility <= best + margin]


def chosen(
    verdicts: Mapping[str, Verdict], margin: float | None = MARGIN, partner: float | None = PARTNER
) -> tuple[str, ...]:
    """Of the plausible candidates the one whose borders lie on the strongest edges; of equals the first.

    Where the next one's edges are nearly as strong, verdicts cannot tell the two apart: both are chosen, the first
    before the second, and answer together, which is seldom worse than either.

    Shapes tell what cannot be right (nothing found, or half of the image), and hardly more: among what could be right
    they prefer what looks most like the labelled patients. Edges tell where a border is, and mistake any strong edge
    for one. Each covers for the other; the adaptation bundle's docs say what was measured.

    Args:
        verdicts: candidate to what is said for it.
        margin: see :func:`plausible`.
        partner: share of the strongest edges that the second must have; None: one is chosen.
    """
    first, *others = sorted(plausible(verdicts, margin), key=lambda name: -verdicts[name].edges)
    clearest = verdicts[first].edges
    if partner is None or clearest == 0:
        return (first,)
    return (first, *(name for name in others[:1] if verdicts[name].edges >= partner * clearest))
