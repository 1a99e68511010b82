"""Style and domain codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call

from shared_components.networks.style_encoder import StyleEncoder


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3×3 convolution of (C, H, W) with stride 2 and zeros around, pixel by pixel."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    out = np.empty((len(weight), height, width))
    for i in range(height):
        for j in range(width):
            patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            out[:, i, j] = (weight * patch).sum(axis=(1, 2, 3)) + bias
    return out


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


def test_against_numpy():
    encoder = StyleEncoder(channels=(2, 3), style=2, domain=3, hidden=5, grid=2).double().eval()
    image = torch.randn(2, 1, 16, 8, dtype=torch.double)
    w = {name: tensor.detach().numpy() for name, tensor in encoder.state_dict().items()}
    for b in range(2):
        x = image[b].numpy()
        for layer in range(2):
            names = [f"features.{layer}.conv.{kind}" for kind in ("weight", "bias")]
            x = leaky(convolve(x, *(w[name] for name in names)))  # ends at (3, 4, 2)
        pooled = x.reshape(3, 2, 2, 2, 1).mean(axis=(2, 4)).reshape(-1)
        hidden = leaky(w["dense.weight"] @ pooled + w["dense.bias"])
        style = w["style_head.weight"] @ hidden + w["style_head.bias"]
        domain = w["domain_head.weight"] @ hidden + w["domain_head.bias"]
        codes = encoder(image)
        np.testing.assert_allclose(codes.style.mean[b].detach(), style[:2])
        np.testing.assert_allclose(codes.style.log_variance[b].detach(), style[2:])
        np.testing.assert_allclose(codes.domain.mean[b].detach(), domain[:3])
        np.testing.assert_allclose(codes.domain.log_variance[b].detach(), domain[3:])


@pytest.mark.parametrize("size", [(32, 32), (48, 16), (17, 23), (4, 4)])
def test_codes_of_images_of_any_size(size):
    codes = StyleEncoder(channels=(4, 8), style=5, domain=3)(torch.randn(2, 1, *size))
    assert {part.shape for part in codes.style} == {(2, 5)}
    assert {part.shape for part in codes.domain} == {(2, 3)}


def test_in_evaluation_the_sample_is_the_mean_and_nothing_is_drawn():
    encoder = StyleEncoder(channels=(4,)).eval()
    state = torch.get_rng_state()
    codes = encoder(torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(code.sample, code.mean) for code in codes)
    assert torch.equal(state, torch.get_rng_state())


def test_in_training_samples_have_the_codes_mean_and_variance():
    encoder = StyleEncoder(channels=(4,), style=2, domain=2)
    torch.nn.init.constant_(encoder.style_head.bias, 1.5)  # means and log-variances away from 0
    torch.manual_seed(3)
    codes = encoder(torch.ones(1, 1, 8, 8).expand(4000, -1, -1, -1))
    for code in codes:
        deviation = code.sample.std(dim=0)
        torch.testing.assert_close(deviation, torch.exp(code.log_variance[0] / 2), rtol=0.05, atol=0)
        assert torch.all((code.sample.mean(dim=0) - code.mean[0]).abs() < 4 * deviation / 4000**0.5)
    assert not torch.equal(codes.style.sample, codes.domain.sample)


def test_each_heads_gradient_reaches_that_head_and_the_trunk():
    encoder = StyleEncoder(channels=(4, 4))
    encoder(torch.randn(2, 1, 8, 8)).style.sample.sum().backward()
    reached = {name.split(".")[0] for name, p in encoder.named_parameters() if p.grad is not None}
    assert reached == {"features", "dense", "style_head"}


def test_second_derivative_of_a_functional_call_with_other_parameters():
    encoder = StyleEncoder(channels=(2,), style=1, domain=1, hidden=3, grid=2).double()
    names = [name for name, _ in encoder.named_parameters()]
    image = torch.randn(2, 1, 6, 6, dtype=torch.double)

    def samples(*values):
        torch.manual_seed(0)  # the same draw for every evaluation
        codes = functional_call(encoder, dict(zip(names, values, strict=True)), (image,))
        return codes.style.sample, codes.domain.sample

    values = [torch.randn_like(p, requires_grad=True) for p in encoder.parameters()]
    assert torch.autograd.gradgradcheck(samples, values)
