"""Residual projection discriminator of slices (method §1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared_components.networks.condition import ConditionEmbedding
from shared_components.networks.style_layers import (
    EqualConv2d,
    EqualLinear,
    FirDownsample,
    resolutions,
    scaled_leaky_relu,
)


def minibatch_standard_deviation(x: Tensor, group_size: int = 4) -> Tensor:
    """Append one channel: the standard deviation over groups of samples, averaged over channels and pixels.

    Args:
        x: (B, C, H, W).
        group_size: samples per group; the largest divisor of B not above it is used.
    Returns:
        (B, C + 1, H, W).
    Source: Karras et al. 2018, Sec. 3.
    """
    batch, _, height, width = x.shape
    group = max(g for g in range(1, min(group_size, batch) + 1) if batch % g == 0)
    grouped = x.reshape(group, batch // group, -1)
    deviation = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1)  # (B / group,)
    feature = deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, feature], dim=1)


class ResidualDownBlock(nn.Module):
    """Two 3×3 convolutions and FIR downsampling beside a 1×1 skip; (B, C, H, W) to (B, C', H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = EqualConv2d(in_channels, in_channels, 3)
        self.second = EqualConv2d(in_channels, out_channels, 3)
        self.skip = EqualConv2d(in_channels, out_channels, 1, bias=False)
        self.downsample = FirDownsample()

    def forward(self, x: Tensor) -> Tensor:
        main = scaled_leaky_relu(self.first(x))
        main = scaled_leaky_relu(self.second(self.downsample(main)))
        return (main + self.skip(self.downsample(x))) / math.sqrt(2.0)


class Discriminator(nn.Module):
    """Scores how real a slice looks for its domain and position: logit = Σ h ⊙ rms(embed(c)) / √width.

    Args:
        size: height and width of a slice in px.
        domains: number of domains K.
        positions: number P of learnt positions along a volume, interpolated between.
        channels: widths per resolution, *coarsest first* as in the generator.
        width: width of h.
        group_size: group of the minibatch standard deviation.
        image_channels: channels of the image.
    Source: Karras et al. 2020 (residual discriminator); Miyato and Koyama 2018 (projection).
    Deviation: downsamples between the block's two convolutions, before the second one, which computes at half
    the resolution.
    """

    def __init__(
        self,
        size: int,
        domains: int,
        positions: int,
        channels: Sequence[int],
        width: int = 128,
        group_size: int = 4,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        self.group_size = group_size
        self.sizes = resolutions(size, len(channels), "discriminator_channels")
        fine_to_coarse = list(channels)[::-1]
        self.from_image = nn.ModuleList([EqualConv2d(image_channels, c, 1) for c in fine_to_coarse])
        self.downsample = FirDownsample()
        self.blocks = nn.ModuleList([ResidualDownBlock(a, b) for a, b in itertools.pairwise(fine_to_coarse)])
        self.final_convolution = EqualConv2d(channels[0] + 1, channels[0], 3)
        self.final_linear = EqualLinear(channels[0] * self.sizes[0] ** 2, width, activate=True)
        self.condition = ConditionEmbedding(domains, positions, width)

    def forward(self, image: Tensor, domain: Tensor, position: Tensor, fade: float = 1.0) -> Tensor:
        """Logits (B, 1).

        Args:
            image: (B, C, s, s), s being one of the resolutions; coarser ones enter further on.
            domain: (B,) integers.
            position: (B,) relative heights in [0, 1], NaN for none.
            fade: below 1, the share of this resolution beside the next coarser one (progressive training).
        Raises:
            ValueError: the image is of none of the resolutions.
        """
        h = self.embed(image, fade)
        condition = self.condition(domain, position)
        return (h * condition).sum(dim=1, keepdim=True) / math.sqrt(h.shape[1])

    def embed(self, image: Tensor, fade: float = 1.0) -> Tensor:
        """Features before the projection: (B, width)."""
        if image.shape[-1] not in self.sizes:
            raise ValueError(f"image: expected a size among {self.sizes} px, found {tuple(image.shape)}")
        first = len(self.sizes) - 1 - self.sizes.index(image.shape[-1])
        x = scaled_leaky_relu(self.from_image[first](image))
        for number, block in enumerate(self.blocks[first:], first):
            x = block(x)
            if number == first and fade < 1.0:
                coarse = scaled_leaky_relu(self.from_image[first + 1](self.downsample(image)))
                x = torch.lerp(coarse, x, fade)
        x = minibatch_standard_deviation(x, self.group_size)
        x = scaled_leaky_relu(self.final_convolution(x))
        return self.final_linear(x.flatten(1))
