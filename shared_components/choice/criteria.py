"""What can be said for a segmentation model on images that nobody has labelled.

Two verdicts choose (see :mod:`shared_components.choice.rule`): shapes like those of labelled volumes, after the
question whether a segmentation could be right (Valindria et al. 2017), and borders that lie on edges of the image, the
disparity of regions by which segmentations were judged before there were labels to judge them by (Zhang et al. 2008).
Two are told beside them: agreement with the mean of all candidates, the ensemble-based validation of Hu et al. 2023
(EnsV); and steadiness under small changes of the image, the consistency that semi-supervised learning rests on
(Tarvainen and Valpola 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared_components.choice.shapes import implausibility, shapes

BATCH = 32  # slices at a time
GAMMAS = (0.8, 1.25)  # of the changed views
FEWEST = 4  # pixels on each side of a border that is worth measuring
NOISE = 0.01  # of intensities in [-1, 1]: no edge is stronger than a difference in its terms


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
        probabilities: mean over the slices as they are and mirrored, (N, C, H, W).
        steadiness: see :class:`Verdict`.
    """

    probabilities: Tensor
    steadiness: float


@torch.no_grad()
def opinion(network: nn.Module, images: Tensor) -> Opinion:
    """Segment slices (N, 1, H, W) in [-1, 1] as they are, and in views that differ by nothing that matters.

    Args:
        network: (B, 1, H, W) to class scores (B, C, H, W), for inference.
        images: the slices.
    """
    plain, mirrored = _probabilities(network, images), _probabilities(network, images.flip(-2)).flip(-2)
    mean = (plain + mirrored) / 2
    labels = mean.argmax(1)
    views = [plain, mirrored, *(_probabilities(network, with_gamma(images, gamma)) for gamma in GAMMAS)]
    classes = range(1, mean.shape[1])
    steadiness = np.mean([mean_dice(view.argmax(1), labels, classes) for view in views])
    return Opinion(mean, float(steadiness))


def with_gamma(images: Tensor, gamma: float) -> Tensor:
    """Slices in [-1, 1] whose intensities above air are raised to a power."""
    return ((images + 1) / 2).clamp_min(0).pow(gamma) * 2 - 1


def _probabilities(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(part).float().softmax(1) for part in images.split(BATCH)])


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
    images: Tensor,
    volumes: Tensor,
    classes: Sequence[int],
    spacing: float | None,
    known: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, Verdict]:
    """Candidate to what is said for it.

    Args:
        opinions: of each candidate on the same slices.
        images: the slices, (N, 1, H, W) in [-1, 1].
        volumes: number of the volume that each slice is of, (N,); a volume's slices are in order.
        classes: label values but the background's, which are the networks' channels from 1 on.
        spacing: size of a pixel, mm.
        known: shapes of labelled volumes, see :func:`~shared_components.choice.shapes.read_shapes`.
    """
    together = torch.stack([one.probabilities for one in opinions.values()]).mean(0).argmax(1)
    found = {}
    for name, one in opinions.items():
        labels = one.probabilities.argmax(1)
        shaped = [shapes(labels[volumes == v].numpy(), classes, spacing) for v in volumes.unique()]
        found[name] = Verdict(
            implausibility(shaped, known),
            edge_strength(images, labels, classes),
            one.steadiness,
            mean_dice(labels, together, classes),
        )
    return found
