"""Losses that keep anatomy, style and domain apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.losses.disentanglement import (
    hsic,
    kl_divergence,
    latent_regression,
    ordered_eigenvalue,
    rank_penalty,
)
from shared_components.networks.style_encoder import Code, Codes


def doubles(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


def derivatives(loss, x: torch.Tensor) -> list[torch.Tensor]:
    """First derivative and the derivative of its sum of squares."""
    (first,) = torch.autograd.grad(loss(x), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return [first, second]


def test_kl_against_a_numerical_integral():
    mean, log_variance = np.array([[0.5, -1.0], [0.0, 2.0]]), np.array([[0.3, -0.7], [0.0, 1.1]])
    t = np.linspace(-25, 25, 200_001)
    expected = 0.0
    for m, v in zip(mean.ravel(), np.exp(log_variance).ravel(), strict=True):
        log_q = -((t - m) ** 2) / (2 * v) - 0.5 * np.log(2 * np.pi * v)
        log_p = -(t**2) / 2 - 0.5 * np.log(2 * np.pi)
        expected += (np.exp(log_q) * (log_q - log_p)).sum() * (t[1] - t[0]) / 2  # mean of two samples
    found = kl_divergence(torch.tensor(mean), torch.tensor(log_variance)).item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_kl_of_the_prior_is_zero():
    assert kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0


@pytest.mark.parametrize("sigma", [5.0, 0.7])
def test_hsic_against_numpy(sigma):
    x, y, n = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(5, 2)), 5
    k, ell = (
        np.array([[np.exp(-((a - b) ** 2).sum() / (2 * sigma**2)) for b in z] for a in z]) for z in (x, y)
    )
    h = np.eye(n) - np.ones((n, n)) / n
    expected = np.trace(k @ h @ ell @ h) / (n - 1) ** 2
    assert hsic(torch.tensor(x), torch.tensor(y), sigma).item() == pytest.approx(expected, rel=1e-10)


def test_hsic_tells_dependent_from_independent_codes():
    torch.manual_seed(0)
    x, y = torch.randn(200, 2), torch.randn(200, 2)
    assert hsic(x, x.square(), 1.0) > 10 * hsic(x, y, 1.0) > 0


@pytest.mark.parametrize("batch", [1, 3])
def test_hsic_of_equal_samples_is_zero_and_smooth(batch):
    x = torch.ones(batch, 2, requires_grad=True)
    assert hsic(x, torch.randn(batch, 2)).item() == pytest.approx(0, abs=1e-7)
    assert all(torch.isfinite(g).all() for g in derivatives(lambda x: hsic(x, 2 * x), x))


def test_latent_regression_compares_means_with_what_was_decoded():
    def codes(mean: float, sample: float) -> Codes:
        code = Code(torch.full((2, 3), mean), torch.zeros(2, 3), torch.full((2, 3), sample))
        return Codes(code, Code(code.mean + 1, code.log_variance, code.sample))

    # style |2 - 5| = 3 and domain |3 - 5| = 2; the re-encoded samples and the first means do not count
    assert latent_regression(codes(2.0, 99.0), codes(-99.0, 5.0)).item() == pytest.approx(2.5)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_rank_penalty_against_a_numpy_svd(rank):
    anatomy = 3 * doubles(2, 4, 6, 5).detach()
    exponential = np.exp(anatomy.numpy())
    rows = np.moveaxis(exponential / exponential.sum(axis=1, keepdims=True), 1, -1).reshape(-1, 4)
    expected = np.linalg.svd(rows, compute_uv=False)[rank]
    assert rank_penalty(anatomy, rank).item() == pytest.approx(expected, rel=1e-5)


def test_rank_that_nothing_lies_beyond():
    anatomy = torch.randn(1, 3, 4, 4, requires_grad=True)
    penalty = rank_penalty(anatomy, 3)
    penalty.backward()
    assert penalty.item() == 0 and not anatomy.grad.any()


def test_rank_penalty_falls_with_the_rank_of_the_anatomy():
    two = torch.zeros(1, 4, 8, 8)
    two[:, 0, :4], two[:, 1, 4:] = 40, 40  # every pixel is of one of two kinds
    assert rank_penalty(two, 2).item() < 2e-3 < rank_penalty(two, 1).item()


def test_pixels_are_drawn_from_the_global_generator_when_there_are_too_many():
    anatomy = torch.randn(2, 4, 8, 8)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(rank_penalty(anatomy, 2, pixels=20).item())
    assert values[0] == values[1] != values[2]
    state = torch.get_rng_state()
    rank_penalty(anatomy, 2, pixels=128)
    assert torch.equal(state, torch.get_rng_state())


def test_drawn_pixels_are_different_pixels_of_all_images():
    # pixel i has class i // 16: equal counts of four classes
    rows = torch.eye(4).repeat_interleave(16, dim=0)
    anatomy = 60 * rows.reshape(2, 32, 4).movedim(2, 1).reshape(2, 4, 4, 8)
    full = rank_penalty(anatomy, 3, pixels=64).item()
    assert full == pytest.approx(4.0, rel=1e-5)  # √16
    drawn = rank_penalty(anatomy, 0, pixels=63).item()
    assert drawn == pytest.approx(4.0, rel=1e-5)  # 63 of 64 without replacement leave a class of 16


def test_first_and_second_derivatives():
    codes = [doubles(3, 2), doubles(3, 2)]
    assert torch.autograd.gradgradcheck(kl_divergence, codes)
    assert torch.autograd.gradgradcheck(lambda x, y: hsic(x, y, 1.0), codes)
    anatomy = doubles(2, 3, 3, 2)
    for rank in (0, 1, 2):
        assert torch.autograd.gradcheck(lambda x, r=rank: rank_penalty(x, r), anatomy)
        assert torch.autograd.gradgradcheck(lambda x, r=rank: rank_penalty(x, r), anatomy, rtol=1e-2)


def test_eigenvalues_and_their_second_derivatives_are_those_of_torch_where_they_differ():
    rows = doubles(7, 4)
    for index in range(4):
        ours = derivatives(lambda x, i=index: ordered_eigenvalue(x.t() @ x, i), rows)
        theirs = derivatives(lambda x, i=index: torch.linalg.eigvalsh(x.t() @ x)[3 - i], rows)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


DEGENERATE = {
    "constant": torch.zeros(1, 4, 4, 4),
    "equal channels": torch.randn(1, 1, 4, 4).expand(1, 4, 4, 4),
    "two equal pairs of channels": torch.randn(1, 2, 4, 4).repeat(1, 2, 1, 1),
    "constant and certain": 200 * torch.eye(4)[0].reshape(1, 4, 1, 1).expand(1, 4, 4, 4),
    "classes of equal size": 200 * torch.eye(4).repeat(4, 1).t().reshape(1, 4, 4, 4),
    "one pixel": torch.randn(1, 4, 1, 1),
}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_anatomy_has_finite_derivatives(name, rank):
    anatomy = DEGENERATE[name].clone().requires_grad_()
    first, second = derivatives(lambda x: rank_penalty(x, rank), anatomy)
    assert torch.isfinite(first).all() and first.abs().max() < 1e2
    assert torch.isfinite(second).all() and second.abs().max() < 1e6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_has_diverged_has_no_eigenvalue(value):
    matrix = torch.full((3, 3), value, requires_grad=True)
    assert ordered_eigenvalue(matrix, 1).isnan()
