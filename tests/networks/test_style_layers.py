from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shared_components.networks.style_layers import (
    EqualConv2d,
    EqualLinear,
    ModulatedConv2d,
    fir_downsample,
    fir_upsample,
    rms_normalise,
)


def test_rms_normalise_gives_unit_mean_square():
    x = torch.randn(5, 64) * 7
    assert torch.allclose(rms_normalise(x).square().mean(dim=1), torch.ones(5), atol=1e-5)


def test_equal_linear_scales_by_fan_in_and_multiplier():
    layer = EqualLinear(9, 4, bias_init=1.0, lr_multiplier=0.5)
    x = torch.randn(3, 9)
    expected = x @ (layer.weight * 0.5 / 3).T + layer.bias * 0.5
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert torch.allclose(layer.bias * 0.5, torch.ones(4))


def test_equal_convolution_keeps_unit_variance():
    y = EqualConv2d(32, 64, 3, bias=False)(torch.randn(8, 32, 16, 16))[..., 2:-2, 2:-2].detach()
    assert abs(float(y.var()) - 1) < 0.15


@pytest.mark.parametrize("size", [3, 12])
def test_fir_filters_change_the_resolution_and_keep_constants(size):
    x = torch.full((2, 3, size, size), 0.7)
    up, down = fir_upsample(x), fir_downsample(fir_upsample(x))
    assert up.shape == (2, 3, 2 * size, 2 * size) and down.shape == x.shape
    assert torch.allclose(up[..., 2:-2, 2:-2], torch.full((), 0.7), atol=1e-6)


def test_fir_upsample_is_zero_insertion_then_the_filter():
    x = torch.randn(1, 1, 4, 4)
    zeros = torch.zeros(1, 1, 8, 8)
    zeros[..., ::2, ::2] = x
    taps = np.array([1, 3, 3, 1.0])
    kernel = torch.tensor(np.outer(taps, taps) / 64 * 4, dtype=torch.float32)[None, None]
    expected = F.conv2d(F.pad(zeros, (2, 1, 2, 1)), kernel)
    assert torch.allclose(fir_upsample(x), expected, atol=1e-6)


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaled_activations_equal_grouped_weights(upsample, demodulate):
    layer = ModulatedConv2d(5, 7, 3, w_dim=6, demodulate=demodulate, upsample=upsample)
    x, w = torch.randn(4, 5, 9, 9), torch.randn(4, 6)
    outputs = []
    for fused in (False, True):
        layer.fused = fused
        outputs.append(layer(x, w))
    assert outputs[0].shape[-1] == (18 if upsample else 9)
    assert torch.allclose(*outputs, atol=1e-5)


def test_demodulation_makes_the_output_independent_of_the_styles_scale():
    layer = ModulatedConv2d(16, 8, 3, w_dim=4)
    x, w = torch.randn(2, 16, 8, 8), torch.randn(2, 4)
    before = layer(x, w)
    with torch.no_grad():
        layer.affine.weight.mul_(10)
        layer.affine.bias.mul_(10)
    assert torch.allclose(layer(x, w), before, atol=1e-4)


def test_modulated_convolution_against_a_loop():
    layer = ModulatedConv2d(3, 2, 3, w_dim=4)
    x, w = torch.randn(2, 3, 5, 5), torch.randn(2, 4)
    style = layer.affine(w)
    for b in range(2):
        kernel = layer.weight / math.sqrt(27) * style[b][None, :, None, None]
        kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(layer(x, w)[b], F.conv2d(x[b : b + 1], kernel, padding=1)[0], atol=1e-5)
