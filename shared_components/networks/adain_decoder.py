"""Decoder of an anatomy map in a given look, by adaptive instance normalisation (method §3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdainDecoder(nn.Module):
    """Two AdaIN convolutions on the anatomy, two more convolutions, tanh.

    Scale and shift of both AdaIN layers come from one multi-layer perceptron of the codes; the image's look can
    enter in this way alone.

    Args:
        anatomy_channels: channels A of the anatomy map.
        style: length of both codes together, [z_s, z_d].
        channels: width of the convolutions.
        hidden: width of the perceptron's two hidden layers.
        out_channels: channels of the image.
    Source: Liu et al. 2021 (DGNet), Sec. 2.1; Huang and Belongie 2017, Eq. 8.
    """

    def __init__(
        self, anatomy_channels: int, style: int, channels: int = 16, hidden: int = 64, out_channels: int = 1
    ) -> None:
        super().__init__()
        self.anatomy_channels = anatomy_channels
        # the normalisation that follows removes any bias
        self.first = nn.Conv2d(anatomy_channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.third = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_image = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.to_affine = nn.Sequential(
            nn.Linear(style, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, 4 * channels),
        )

    def forward(self, anatomy: Tensor, style: Tensor) -> Tensor:
        """``anatomy`` (B, A, H, W) and ``style`` (B, style) to images (B, out_channels, H, W) in (-1, 1)."""
        scale_1, shift_1, scale_2, shift_2 = self.to_affine(style).chunk(4, dim=1)  # each (B, channels)
        x = F.leaky_relu(adaptive_instance_norm(self.first(anatomy), 1 + scale_1, shift_1), 0.1)
        x = F.leaky_relu(adaptive_instance_norm(self.second(x), 1 + scale_2, shift_2), 0.1)
        return torch.tanh(self.to_image(F.leaky_relu(self.third(x), 0.1)))


def adaptive_instance_norm(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    r""":math:`g\,(x - \mu) / \sqrt{v + \epsilon} + t`, mean and variance over each sample's channel.

    Args:
        x: features, (B, C, H, W).
        gain: g, (B, C).
        shift: t, (B, C).
    Returns:
        (B, C, H, W).
    """
    channels = x.reshape(1, -1, *x.shape[2:])  # each sample's channel as one of batch norm's
    return F.batch_norm(channels, None, None, gain.reshape(-1), shift.reshape(-1), training=True).view_as(x)
