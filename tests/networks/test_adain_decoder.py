"""Decoder of anatomy in a look."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.networks.adain_decoder import AdainDecoder

EPS = 1e-5  # of the norm's variance


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """3×3 convolution of (C, H, W) with zeros around."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("oikl,ihwkl->ohw", weight, windows)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


def normalised(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=(1, 2), keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(axis=(1, 2), keepdims=True) + EPS)
    return (1 + scale[:, None, None]) * unit + shift[:, None, None]


def test_against_numpy():
    decoder = AdainDecoder(3, 4, channels=2, hidden=5).double()
    anatomy, style = torch.randn(2, 3, 6, 4).double(), torch.randn(2, 4).double()
    w = {name: tensor.detach().numpy() for name, tensor in decoder.state_dict().items()}
    for b in range(2):
        h = style[b].numpy()
        for layer in (0, 2, 4):
            h = w[f"to_affine.{layer}.weight"] @ h + w[f"to_affine.{layer}.bias"]
            h = leaky(h) if layer < 4 else h
        x = leaky(normalised(convolve(anatomy[b].numpy(), w["first.weight"]), h[0:2], h[2:4]))
        x = leaky(normalised(convolve(x, w["second.weight"]), h[4:6], h[6:8]))
        x = leaky(convolve(x, w["third.weight"]) + w["third.bias"][:, None, None])
        x = np.tanh(convolve(x, w["to_image.weight"]) + w["to_image.bias"][:, None, None])
        np.testing.assert_allclose(decoder(anatomy, style)[b].detach(), x, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (5, 7)])
def test_images_have_the_anatomys_size_and_the_range_of_tanh(size):
    image = AdainDecoder(4, 6)(torch.randn(3, 4, *size), 10 * torch.randn(3, 6))
    assert image.shape == (3, 1, *size) and image.abs().max() <= 1


def test_contrast_of_the_anatomy_does_not_show_and_style_does():
    decoder, style = AdainDecoder(4, 6).double(), torch.randn(2, 6).double()
    anatomy = 10 * torch.randn(2, 4, 8, 8).double()
    torch.testing.assert_close(decoder(100 * anatomy, style), decoder(anatomy, style), rtol=0, atol=100 * EPS)
    assert not torch.allclose(decoder(anatomy, style.flip(0)), decoder(anatomy, style), atol=1e-3)


def test_constant_anatomy_has_finite_first_and_second_derivatives():
    decoder = AdainDecoder(3, 2, channels=4)
    anatomy, style = torch.full((2, 3, 4, 4), 1 / 3, requires_grad=True), torch.zeros(2, 2)
    inputs = [anatomy, *decoder.parameters()]
    first = torch.autograd.grad(decoder(anatomy, style).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs, materialize_grads=True)
    assert all(torch.isfinite(g).all() for g in (*first, *second))
