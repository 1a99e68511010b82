from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributed

from shared_components.losses.adversarial import (
    PathLengthPenalty,
    discriminator_logistic_loss,
    generator_nonsaturating_loss,
    r1_penalty,
)


def test_logistic_losses_against_numpy():
    real, fake = torch.randn(6, 1), torch.randn(6, 1)
    expected = np.log1p(np.exp(-real.numpy())).mean() + np.log1p(np.exp(fake.numpy())).mean()
    assert np.isclose(float(discriminator_logistic_loss(real, fake)), expected, atol=1e-6)
    assert np.isclose(
        float(generator_nonsaturating_loss(fake)), np.log1p(np.exp(-fake.numpy())).mean(), atol=1e-6
    )


def test_r1_of_a_quadratic():
    real = torch.randn(3, 1, 4, 4, requires_grad=True)
    logits = real.square().sum(dim=(1, 2, 3))[:, None]  # gradient 2x
    assert torch.allclose(r1_penalty(logits, real), 4 * real.square().sum(dim=(1, 2, 3)).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="requires_grad=False"):
        r1_penalty(logits, real.detach())


def test_path_length_of_a_linear_generator():
    """G(w) = a w copied to every pixel has |J^T y| = |a| |sum of y| / size; the mean starts at 0."""
    w_plus = torch.randn(5, 1, 1, requires_grad=True)
    images = (3.0 * w_plus)[..., None].expand(5, 1, 8, 8)
    penalty = PathLengthPenalty(decay=0.9)
    torch.manual_seed(1)
    value = penalty(images, w_plus)
    torch.manual_seed(1)
    lengths = 3.0 * (torch.randn(5, 1, 8, 8) / 8).sum(dim=(1, 2, 3)).abs()
    mean = 0.1 * lengths.mean()
    assert torch.allclose(penalty.mean, mean, rtol=1e-4)
    assert torch.allclose(value, (lengths - mean).square().mean(), rtol=1e-4)
    with pytest.raises(ValueError, match="requires grad"):
        penalty(images, w_plus.detach())


def test_the_mean_path_length_is_that_of_all_processes(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", lambda sums: sums.mul_(2).add_(torch.tensor([4.0, 0.0])))
    w_plus = torch.randn(5, 1, 1, requires_grad=True)
    images = (3.0 * w_plus)[..., None].expand(5, 1, 8, 8)
    penalty = PathLengthPenalty(decay=0.9)
    torch.manual_seed(1)
    penalty(images, w_plus)
    torch.manual_seed(1)
    lengths = 3.0 * (torch.randn(5, 1, 8, 8) / 8).sum(dim=(1, 2, 3)).abs()
    assert torch.allclose(penalty.mean, 0.1 * (lengths.mean() + 2.0), rtol=1e-4), "the other's is longer by 4"
