"""Cross entropy and soft Dice over labelled pixels only (method §2): where a label is -1 nobody looked."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from monai.losses import DiceCELoss, MaskedDiceLoss
from monai.networks import one_hot
from torch import Tensor, nn

from shared_components.data.label_maps import UNKNOWN

TINY = 1e-12  # in place of a sum of weights that is 0


class MaskedSegmentationLoss(nn.Module):
    r"""``cross_entropy``·CE + ``dice``·(1 − soft Dice), both over pixels of weight above 0.

    :math:`CE = \sum_i m_i\,(-\log p_{i,y_i}) / \sum_i m_i`; Dice per sample and class over the weighted
    pixels, averaged over classes and over the samples that have any weight; 0 without a labelled pixel.

    Args:
        cross_entropy: weight of the cross entropy.
        dice: weight of the Dice term.
        include_background: class 0 counts in the Dice term.
    """

    def __init__(
        self, cross_entropy: float = 1.0, dice: float = 1.0, include_background: bool = False
    ) -> None:
        super().__init__()
        self.cross_entropy, self.dice = cross_entropy, dice
        self.soft_dice = MaskedDiceLoss(include_background=include_background, softmax=True, reduction="none")

    def forward(self, logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """Loss of a batch.

        Args:
            logits: (B, C, H, W).
            label: (B, 1, H, W) integers, -1 where unknown; its values do not matter where the weight is 0.
            weight: (B, 1, H, W) in [0, 1], or (B,) for whole slices, of the cross entropy; the Dice is of all pixels
                with one above 0. None: every pixel is labelled.
        Returns:
            Scalar.
        Raises:
            ValueError: ``label`` or ``weight`` does not fit ``logits``.
        """
        expected = (logits.shape[0], 1, *logits.shape[2:])
        if label.shape != expected:
            raise ValueError(f"label: expected {tuple(expected)}, found {tuple(label.shape)}")
        weight = pixel_weight(weight, label, logits) * (label >= 0)
        # (B,); selecting by it would wait for the device
        labelled = (weight.flatten(1).amax(dim=1) > 0).to(logits)
        label = label.long() * (weight > 0)  # a value such as 255 for "not labelled" has no class of its own
        entropy = F.cross_entropy(logits, label[:, 0], reduction="none")
        loss = self.cross_entropy * (entropy * weight[:, 0]).sum() / weight.sum().clamp_min(TINY)
        known = (weight > 0).to(logits)
        dice = self.soft_dice(logits, one_hot(label, logits.shape[1]), known).flatten(1).mean(dim=1)  # (B,)
        return loss + self.dice * (dice * labelled).sum() / labelled.sum().clamp_min(1)


def pixel_weight(weight: Tensor | None, label: Tensor, logits: Tensor) -> Tensor:
    """Weights (B, 1, H, W) in the dtype of ``logits`` from None, (B,) or (B, 1, H, W).

    Raises:
        ValueError: another shape.
    """
    if weight is None:
        return logits.new_ones(label.shape)
    if weight.shape == label.shape[:1]:
        return weight.to(logits)[:, None, None, None].expand(label.shape)
    if weight.shape != label.shape:
        raise ValueError(f"weight: expected (B,) or {tuple(label.shape)}, found {tuple(weight.shape)}")
    return weight.to(logits)


class KnownDiceCELoss(DiceCELoss):
    """MONAI's ``DiceCELoss`` (softmax, one label channel) of the pixels whose label is not -1; 0 without any.

    Where every pixel is known it is ``DiceCELoss`` itself.

    Args:
        include_background: class 0 counts in the Dice term.
        batch: Dice over the batch, not of each sample.
        weight: of the classes (C,), in both terms; None: all alike.
        others: the rest of ``DiceCELoss``.
    """

    def __init__(
        self,
        include_background: bool = True,
        batch: bool = False,
        weight: Tensor | None = None,
        **others: Any,
    ) -> None:
        dice = {"include_background": include_background, "batch": batch, "softmax": True}
        super().__init__(**dice, weight=weight, **{"to_onehot_y": True, **others})
        self.known_dice = MaskedDiceLoss(**dice, weight=self.dice.class_weight)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Loss of logits (B, C, H, W) and integer labels (B, 1, H, W), -1 where unknown; a scalar."""
        known = label >= 0
        if known.all():
            return super().forward(logits, label)
        if not known.any():
            return logits.sum() * 0
        truth = one_hot(label.clamp(min=0), logits.shape[1])
        # of single slices, one of which nothing is known would count as right
        seen = slice(None) if self.known_dice.batch else known.flatten(1).any(dim=1)
        dice = self.known_dice(logits[seen], truth[seen], known[seen].to(logits))
        entropy = F.cross_entropy(logits, label[:, 0].long(), self.cross_entropy.weight, ignore_index=UNKNOWN)
        return self.lambda_dice * dice + self.lambda_ce * entropy
