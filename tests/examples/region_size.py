"""Segmentations should be as large as the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.networks import one_hot
from torch import Tensor

from shared_components.losses.generalisation import GeneralisationLoss


class SizeGeneralisationLoss(GeneralisationLoss):
    r"""The terms of its base and, of labelled slices, :math:`\sum_c \lvert s_c - t_c \rvert` of each class's share.

    Of the annotated pixels of a slice, s is the share of the prediction (sum of probabilities), t that of the label.

    Args:
        classes: number of classes C, background included.
        size: weight of the term; 0 leaves it out.
        terms: the other arguments of :class:`GeneralisationLoss`.
    Source: Kervadec et al. 2019, Constrained-CNN losses for weakly supervised segmentation, arXiv:1805.04628.
    Deviation: an absolute difference from the true size in place of squared ones from bounds.
    """

    def __init__(self, classes: int, size: float = 1.0, **terms: Any) -> None:
        super().__init__(classes, **terms)
        self.size = size

    def supervised(self, scores: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As of the base, with the name ``size``."""
        terms = super().supervised(scores, batch)
        if self.size:
            known = (batch["label"] >= 0).to(scores)  # (B, 1, H, W); -1 where nobody annotated
            truth = one_hot(batch["label"].clamp(min=0), self.classes)
            sums = ((scores.softmax(dim=1) - truth) * known).sum(dim=(2, 3))  # (B, C)
            shares = sums / known.sum(dim=(2, 3)).clamp(min=1)
            terms["size"] = self.size * shares.abs().sum(dim=1).mean()
        return terms
