"""Pixel classifier on the generator's features (method §2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeatureClassifier(nn.Module):
    """Class logits from the features of every resolution of the synthesis network.

    Each resolution passes a 1×1 convolution to ``width`` channels, all are upsampled and summed; then ReLU,
    batch norm, ``width`` → ``hidden``, ReLU, batch norm, ``hidden`` → classes.

    Args:
        channels: channels of the features per resolution, coarsest first.
        classes: number of classes C, background included.
        width: channels of the sum (published: 128).
        hidden: channels of the second layer (published: 32).
        progressive: keep a running sum that doubles its size at each resolution; False upsamples every
            resolution to full size first (slower; equal with ``mode="nearest"``, else up to the order of
            interpolation).
        mode: "bilinear" or "nearest".
    Source: Zhang et al. 2021 (DatasetGAN), Galati et al., MultiVesSeg.
    Deviation: one feature map per resolution, the last, where the published one takes both layers'; logits
    are returned, the loss applies the softmax.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        width: int = 128,
        hidden: int = 32,
        progressive: bool = True,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList([nn.Conv2d(c, width, 1) for c in channels])
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, hidden, 1),
            nn.ReLU(),
            nn.BatchNorm2d(hidden),
            nn.Conv2d(hidden, classes, 1),
        )
        self.progressive, self.mode = progressive, mode

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features, coarsest first, (B, C_l, h_l, w_l), to logits (B, C, S, S).

        Raises:
            ValueError: another number of resolutions than the classifier was built for.
        """
        if len(features) != len(self.project):
            raise ValueError(f"features: expected {len(self.project)} resolutions, found {len(features)}")
        projected = [project(f) for project, f in zip(self.project, features, strict=True)]
        return self.head(self._running_sum(projected) if self.progressive else self._full_sum(projected))

    def _running_sum(self, projected: list[Tensor]) -> Tensor:
        total = projected[0]
        for contribution in projected[1:]:
            total = self._upsampled(total, contribution) + contribution
        return total

    def _full_sum(self, projected: list[Tensor]) -> Tensor:
        return sum(self._upsampled(p, projected[-1]) for p in projected[:-1]) + projected[-1]

    def _upsampled(self, x: Tensor, like: Tensor) -> Tensor:
        align = None if self.mode == "nearest" else False
        return F.interpolate(x, size=like.shape[-2:], mode=self.mode, align_corners=align)
