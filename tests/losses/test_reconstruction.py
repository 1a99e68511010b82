"""Reconstruction loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shared_components.errors import InputError
from shared_components.losses.reconstruction import ReconstructionLoss, feature_distance


def ssim_reference(
    x: np.ndarray, y: np.ndarray, window: int = 11, sigma: float = 1.5, data_range: float = 1.0
) -> float:
    """Mean structural similarity of two images by its definition, window by window."""
    offsets = np.arange(window) - (window - 1) / 2
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            mean_a, mean_b = (kernel * a).sum(), (kernel * b).sum()
            var_a, var_b = (kernel * a * a).sum() - mean_a**2, (kernel * b * b).sum() - mean_b**2
            cov = (kernel * a * b).sum() - mean_a * mean_b
            luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            values.append(luminance * (2 * cov + c2) / (var_a + var_b + c2))
    return float(np.mean(values))


def test_against_numpy():
    x, y = torch.rand(1, 1, 16, 16) * 2 - 1, torch.rand(1, 1, 16, 16) * 2 - 1
    a, b = x[0, 0].numpy().astype(np.float64), y[0, 0].numpy().astype(np.float64)
    expected = 2 * np.mean((a - b) ** 2) + 3 * (1 - ssim_reference((a + 1) / 2, (b + 1) / 2))
    assert ReconstructionLoss(l2=2.0, ssim=3.0)(x, y).item() == pytest.approx(expected, rel=1e-4)


def test_the_ssim_term_is_not_the_l2_value():
    x, y = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    l2, ssim = ReconstructionLoss(ssim=0.0)(x, y), ReconstructionLoss(l2=0.0)(x, y)
    assert not torch.isclose(l2, ssim, rtol=0.05)
    torch.testing.assert_close(ReconstructionLoss()(x, y), l2 + ssim)


def test_equal_images_cost_nothing_and_worse_ones_more():
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    loss = ReconstructionLoss()
    costs = [loss((image + d * torch.randn_like(image)), image).item() for d in (0.0, 0.1, 0.5)]
    assert costs[0] == pytest.approx(0, abs=1e-5)
    assert costs[0] < costs[1] < costs[2]


def test_an_inverted_image_is_worse_than_none_and_a_shift_that_nobody_sees_costs_next_to_nothing():
    image = nn.functional.interpolate(torch.rand(1, 1, 12, 12), 48, mode="bilinear") * 0.8 + 0.1
    loss = ReconstructionLoss(l2=0.0)
    inverted, blank = loss(-image, image), loss(torch.full_like(image, -1), image)
    assert inverted > 1 > blank
    assert loss(torch.full_like(image, 0.01), torch.full_like(image, -0.01)) < 1e-3


def test_gradient_reaches_the_reconstruction():
    x = torch.rand(1, 1, 16, 16, requires_grad=True)
    ReconstructionLoss()(x, torch.rand(1, 1, 16, 16)).backward()
    assert x.grad.abs().sum() > 0


def test_feature_distance_by_hand():
    a = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)  # unit: (.6, .8)
    b = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)  # unit: (0, 1)
    assert feature_distance([a, a], [b, a]).item() == pytest.approx((0.36 + 0.04) / 2)


@pytest.fixture
def scripted(tmp_path):
    path = tmp_path / "features.pt"
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 4, 3)), str(path))
    return path


def test_perceptual_term_from_a_local_network(scripted):
    x, y = torch.rand(1, 1, 16, 16, requires_grad=True), torch.rand(1, 1, 16, 16)
    loss = ReconstructionLoss(l2=0.0, ssim=0.0, perceptual=0.8, perceptual_network=scripted)
    network = torch.jit.load(str(scripted))
    expected = 0.8 * feature_distance([network(x)], [network(y)])
    torch.testing.assert_close(loss(x, y), expected)
    loss(x, y).backward()
    assert x.grad.abs().sum() > 0 and not any(p.requires_grad for p in loss.parameters())


def test_missing_perceptual_network(tmp_path):
    with pytest.raises(InputError, match=r"none\.pt: expected a TorchScript file, found none"):
        ReconstructionLoss(perceptual_network=tmp_path / "none.pt")


def test_a_file_that_is_not_torchscript(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_text("no network")
    with pytest.raises(InputError, match=r"weights\.pt: expected a TorchScript file"):
        ReconstructionLoss(perceptual_network=path)


def test_a_damaged_torchscript_file_or_one_that_is_not_finite(scripted, tmp_path):
    whole = scripted.read_bytes()
    network = torch.jit.load(str(scripted))
    place = whole.index(network.weight.detach().numpy().tobytes())
    for damaged in (whole[:-40], whole[:place] + b"\1" + whole[place + 1 :]):
        scripted.write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"features\.pt: expected a TorchScript file, found a damaged one \("
        ):
            ReconstructionLoss(perceptual_network=scripted)
    with torch.no_grad():
        network.weight[0] = float("nan")
    torch.jit.save(network, str(scripted))
    with pytest.raises(InputError, match=r"features\.pt: 'weight' holds NaN or infinite values; copy it"):
        ReconstructionLoss(perceptual_network=scripted)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected equal shapes"):
        ReconstructionLoss()(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 32, 32))
