"""The factory's networks as the papers' formulas are written down, to compare ours with: equal numbers, slower.

Source: Karras et al. 2020 (StyleGAN2), Sec. 2.2 and Appendix B; Karras et al. 2019, Sec. 2, for the filter.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.networks.style_layers import FirDownsample, FirUpsample, ModulatedConv2d

Network = TypeVar("Network", bound=nn.Module)


def zero_insertion(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2H, 2W), whose odd rows and columns are 0."""
    batch, channels, height, width = x.shape
    wide = x.new_zeros(batch, channels, 2 * height, 2 * width)
    wide[..., ::2, ::2] = x
    return wide


def fir(x: Tensor, gain: float) -> Tensor:
    """The filter [1, 3, 3, 1] at every pixel: (B, C, H, W) to (B, C, H - 3, W - 3).

    Args:
        x: images or features, padded.
        gain: sum of the filter's 16 numbers.
    """
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype)
    kernel = torch.outer(taps, taps) * (gain / 64)
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


class TextbookUpsample(nn.Module):
    """Zero insertion, then the filter at every pixel; (B, C, H, W) to (B, C, 2H, 2W)."""

    def forward(self, x: Tensor) -> Tensor:
        return fir(F.pad(zero_insertion(x), (2, 1, 2, 1)), 4.0)


class TextbookDownsample(nn.Module):
    """The filter at every pixel, then every second one; (B, C, H, W) to (B, C, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return fir(F.pad(x, (1, 2, 1, 2)), 1.0)[..., ::2, ::2]


class TextbookModulatedConv2d(nn.Module):
    """A weight for every sample in one grouped convolution, of zero-inserted features where they are upsampled.

    Args:
        layer: whose parameters it has.
    """

    def __init__(self, layer: ModulatedConv2d) -> None:
        super().__init__()
        self.weight, self.affine, self.scale = layer.weight, layer.affine, layer.scale
        self.demodulate, self.upsample = layer.demodulate, layer.upsample

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``x`` (B, C_in, H, W) and ``w`` (B, w_dim) to (B, C_out, H, W), twice as large when upsampling."""
        kernels = self.weight * self.scale * self.affine(w)[:, None, :, None, None]  # (B, C_out, C_in, k, k)
        if self.demodulate:
            kernels = kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
        if self.upsample:  # a transposed convolution turns its kernel round
            x, kernels = F.pad(zero_insertion(x), (2, 1, 2, 1)), kernels.flip(3, 4)
        out = F.conv2d(
            x.reshape(1, -1, *x.shape[2:]),
            kernels.flatten(0, 1),
            padding=0 if self.upsample else kernels.shape[-1] // 2,
            groups=len(w),
        ).reshape(len(w), -1, *self._size(x, kernels))
        return fir(F.pad(out, (1, 1, 1, 1)), 4.0) if self.upsample else out

    def _size(self, x: Tensor, kernels: Tensor) -> tuple[int, int]:
        less = kernels.shape[-1] - 1 if self.upsample else 0
        return x.shape[-2] - less, x.shape[-1] - less


TEXTBOOK = {FirUpsample: TextbookUpsample, FirDownsample: TextbookDownsample}


def textbook(network: Network) -> Network:
    """A copy of ``network`` with the same parameters whose layers are the textbook's."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, ModulatedConv2d):
                setattr(module, name, TextbookModulatedConv2d(child))
            elif type(child) in TEXTBOOK:
                setattr(module, name, TEXTBOOK[type(child)]())
    return network
