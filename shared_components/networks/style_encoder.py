"""Encoder of a slice's look: imaging style and domain code (method §3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from torch import Tensor, nn


class Code(NamedTuple):
    """A Gaussian code and a draw of it, each (B, n)."""

    mean: Tensor
    log_variance: Tensor
    sample: Tensor


class Codes(NamedTuple):
    """style: how this slice was imaged. domain: what is common to its domain."""

    style: Code
    domain: Code


class StyleEncoder(nn.Module):
    """Strided convolutions, average pooling to a small grid, a dense layer, one linear head for each code.

    No normalisation layers: the statistics that they remove are the style. Pooling to a fixed grid admits
    images of any size.

    Args:
        channels: widths of the 3×3 convolutions, each of stride 2, finest first.
        style: length of the style code z_s.
        domain: length of the domain code z_d.
        in_channels: channels of the image.
        hidden: width of the dense layer.
        grid: features are averaged to grid × grid cells.
    Source: Liu et al. 2021 (DGNet), Sec. 2.1; sampling after Kingma and Welling 2014, Sec. 2.4.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64),
        style: int = 8,
        domain: int = 8,
        in_channels: int = 1,
        hidden: int = 128,
        grid: int = 4,
    ) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        self.features = nn.Sequential(*[_halving(i, o) for i, o in pairwise(widths)])
        self.dense = nn.Linear(widths[-1] * grid**2, hidden)
        self.style_head = nn.Linear(hidden, 2 * style)
        self.domain_head = nn.Linear(hidden, 2 * domain)
        self.domain_size, self.grid = domain, grid

    def forward(self, image: Tensor) -> Codes:
        """``image`` (B, in_channels, H, W) of any size to both codes.

        In training a code's sample is drawn from torch's global generator; in evaluation it is the mean.
        """
        pooled = F.adaptive_avg_pool2d(self.features(image), self.grid)
        hidden = F.leaky_relu(self.dense(pooled.flatten(1)), 0.1)
        return Codes(self._code(self.style_head(hidden)), self._code(self.domain_head(hidden)))

    def _code(self, parameters: Tensor) -> Code:
        mean, log_variance = parameters.chunk(2, dim=1)
        if not self.training:
            return Code(mean, log_variance, mean)
        return Code(mean, log_variance, mean + torch.exp(log_variance / 2) * torch.randn_like(mean))


def _halving(in_channels: int, out_channels: int) -> Convolution:
    activation = ("leakyrelu", {"negative_slope": 0.1})
    return Convolution(2, in_channels, out_channels, strides=2, kernel_size=3, act=activation, norm=None)
