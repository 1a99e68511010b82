"""A U-Net that knows where in the slice it is."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn


class CoordinateUNet(nn.Module):
    """MONAI's 2-D U-Net with each pixel's row and column, from -1 to 1, as two more input channels.

    Args:
        in_channels: channels of the image, C.
        unet: the other arguments of MONAI's ``UNet``.
    Source: Liu et al. 2018, An Intriguing Failing of Convolutional Neural Networks, arXiv:1807.03247.
    """

    def __init__(self, in_channels: int = 1, **unet: Any) -> None:
        super().__init__()
        self.unet = UNet(in_channels=in_channels + 2, **unet)

    def forward(self, image: Tensor) -> Tensor:
        """``image`` (B, C, H, W) to the U-Net's (B, out_channels, H, W)."""
        rows = torch.linspace(-1, 1, image.shape[2], dtype=image.dtype, device=image.device)[:, None]
        columns = torch.linspace(-1, 1, image.shape[3], dtype=image.dtype, device=image.device)
        one = image[:, :1]
        return self.unet(torch.cat([image, rows.expand_as(one), columns.expand_as(one)], dim=1))
