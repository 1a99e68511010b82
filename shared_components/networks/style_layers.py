"""Building blocks of the style-based generator and its discriminator (Karras et al. 2020, StyleGAN2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError

LEAKY_SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2.0)  # keeps the variance of a unit-variance input after the leaky ReLU


def scaled_leaky_relu(x: Tensor, slope: float = LEAKY_SLOPE, gain: float = LEAKY_GAIN) -> Tensor:
    """Leaky ReLU with slope 0.2 and gain √2; any shape."""
    return F.leaky_relu(x, slope) * gain  # TorchScript knows no numbers of a module


def rms_normalise(x: Tensor, eps: float = 1e-8) -> Tensor:
    r"""Divide by the root mean square over the last dimension: :math:`x / \sqrt{\overline{x^2} + \epsilon}`."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate: weights stay N(0, 1), the scale is applied at run time.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        bias_init: initial value of the bias.
        lr_multiplier: learning rate of this layer relative to the optimiser's.
        activate: apply the scaled leaky ReLU to the result.
    Source: Karras et al. 2018, Sec. 4.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init) / lr_multiplier))
        self.scale = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` to ``(..., out_features)``."""
        out = F.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)
        return scaled_leaky_relu(out) if self.activate else out


class EqualConv2d(nn.Module):
    """3×3 or 1×1 convolution with equalised learning rate and "same" padding; ``(B, C, H, W)`` in and out."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.padding = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def _fir_kernel(channels: int, gain: float, like: Tensor) -> Tensor:
    # [1, 3, 3, 1], made where it is used: a tensor of numbers would be copied there, and the host would wait
    taps = 4 - (2 * torch.arange(4, device=like.device, dtype=like.dtype) - 3).abs()
    kernel = torch.outer(taps, taps)
    kernel = kernel * (gain / kernel.sum())
    return kernel.expand(channels, 1, 4, 4)


def fir_upsample(x: Tensor) -> Tensor:
    """Double the resolution with the FIR filter [1, 3, 3, 1]: ``(B, C, H, W)`` to ``(B, C, 2H, 2W)``."""
    channels = x.shape[1]
    return F.conv_transpose2d(x, _fir_kernel(channels, 4.0, x), stride=2, padding=1, groups=channels)


def fir_downsample(x: Tensor) -> Tensor:
    """Halve the resolution with the FIR filter [1, 3, 3, 1]: ``(B, C, H, W)`` to ``(B, C, H/2, W/2)``."""
    channels = x.shape[1]
    return F.conv2d(x, _fir_kernel(channels, 1.0, x), stride=2, padding=1, groups=channels)


class FirUpsample(nn.Module):
    """:func:`fir_upsample` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return fir_upsample(x)


class FirDownsample(nn.Module):
    """:func:`fir_downsample` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return fir_downsample(x)


def _fir_blur_after_transposed(x: Tensor) -> Tensor:
    """Blur a stride-2 transposed 3×3 convolution's ``(B, C, 2H+1, 2W+1)`` to ``(B, C, 2H, 2W)``."""
    channels = x.shape[1]
    return F.conv2d(x, _fir_kernel(channels, 4.0, x), padding=1, groups=channels)


def grouped_is_faster(channels: int, pixels: int) -> bool:
    """Whether per-sample grouped weights are faster than scaled activations, by ``scripts/benchmark.py kernels``.

    Args:
        channels: of the input.
        pixels: height and width of the input.
    """
    return 2 * pixels >= channels


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled per sample by a style, optionally demodulated and upsampling.

    Two equal formulations: scaling the activations (faster for many channels at few pixels) and per-sample grouped
    weights (faster for few channels at many pixels); ``fused=None`` chooses by both.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: 1 or 3.
        w_dim: width of the latent ``w``.
        demodulate: normalise each output channel to unit expected variance (not for to-image layers).
        upsample: double the resolution (transposed convolution followed by the FIR filter).
        fused: True for grouped weights, False for scaled activations, None to choose by the input's size.
    Source: Karras et al. 2020, Sec. 2.2, Eqs. 1-3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        w_dim: int,
        demodulate: bool = True,
        upsample: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.demodulate = demodulate
        self.upsample = upsample
        self.fused = fused

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``x`` (B, C_in, H, W) and ``w`` (B, w_dim) to (B, C_out, H, W), twice as large when upsampling."""
        style = self.affine(w)  # (B, C_in)
        weight = self.weight * self.scale
        fused = grouped_is_faster(weight.shape[1], x.shape[-1]) if self.fused is None else self.fused
        out = self._grouped(x, style, weight) if fused else self._scaled(x, style, weight)
        return _fir_blur_after_transposed(out) if self.upsample else out

    def _demodulation(self, style: Tensor, weight: Tensor) -> Tensor:
        energy = style.square() @ weight.square().sum(dim=(2, 3)).t()  # (B, C_out)
        return torch.rsqrt(energy + 1e-8)

    def _convolve(self, x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
        if self.upsample:
            return F.conv_transpose2d(x, weight, stride=2, groups=groups)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    def _scaled(self, x: Tensor, style: Tensor, weight: Tensor) -> Tensor:
        kernel = weight.transpose(0, 1) if self.upsample else weight
        out = self._convolve(x * style[:, :, None, None], kernel)
        return out * self._demodulation(style, weight)[:, :, None, None] if self.demodulate else out

    def _grouped(self, x: Tensor, style: Tensor, weight: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        kernels = weight[None] * style[:, None, :, None, None]  # (B, C_out, C_in, k, k)
        if self.demodulate:
            kernels = kernels * self._demodulation(style, weight)[:, :, None, None, None]
        if self.upsample:
            kernels = kernels.transpose(1, 2)
        kernels = kernels.flatten(0, 1)
        out = self._convolve(x.reshape(1, batch * channels, height, width), kernels, groups=batch)
        return out.reshape(batch, -1, out.shape[-2], out.shape[-1])


class StyledLayer(nn.Module):
    """Modulated 3×3 convolution, per-pixel noise with a learned strength, bias, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, upsample: bool = False) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(in_channels, out_channels, 3, w_dim, upsample=upsample)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        x = self.convolution(x, w)
        if noise is not None:
            x = x + self.noise_strength * noise
        return scaled_leaky_relu(x + self.bias[:, None, None])


def resolutions(size: int, levels: int, id: str = "channels") -> tuple[int, ...]:
    """Resolutions in px, coarsest first, ending at ``size``: ``resolutions(48, 5)`` is (3, 6, 12, 24, 48).

    Args:
        size: image size, px.
        levels: how many.
        id: what a config calls the network's widths, one for each resolution; for the message.
    Raises:
        InputError: ``size`` is not divisible by 2^(levels - 1), or the coarsest would be below 3 px.
    """
    base, rest = divmod(size, 2 ** (levels - 1))
    if rest or base < 3:
        raise InputError(
            f"image_size {size} with {levels} {id}: expected a base of at least 3 px times a power of two, "
            f"found {size} / {2 ** (levels - 1)}; change image_size or the number of {id}"
        )
    return tuple(base * 2**level for level in range(levels))
