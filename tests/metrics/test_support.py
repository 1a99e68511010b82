from __future__ import annotations

import pytest
import torch
from monai.metrics import FIDMetric, MMDMetric

from shared_components.errors import InputError
from shared_components.metrics.frechet import frechet_distance
from shared_components.metrics.support import density_and_coverage, kernel_distance


def points(count: int, seed: int, width: int = 6) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=random, dtype=torch.float64)


def test_density_and_coverage_by_hand():
    real = torch.tensor([[0.0], [1.0], [10.0], [11.0]])  # balls of radius 1 for one neighbour
    found = density_and_coverage(real, torch.tensor([[0.5], [0.6]]), neighbours=1)
    assert found == (2.0, 0.5), "each lies in two balls, half of the balls hold any"
    assert density_and_coverage(real, torch.tensor([[5.0]]), neighbours=1) == (0.0, 0.0)


def test_equal_sets_are_covered_and_equally_dense():
    found = density_and_coverage(points(400, 0), points(400, 1))
    assert found.density == pytest.approx(1.0, abs=0.1)
    assert found.coverage == pytest.approx(
        1 - 0.5**5, abs=0.05
    )  # its expectation for k = 5, Naeem et al., Eq. 10


def test_one_mode_alone_is_dense_but_does_not_cover():
    real = torch.cat([points(100, 0), points(100, 1) + 20])
    found = density_and_coverage(real, points(200, 2))
    assert found.density > 0.8 and found.coverage < 0.55


def test_too_few_real_samples_are_told():
    with pytest.raises(InputError, match="more than 5 real samples"):
        density_and_coverage(points(5, 0), points(5, 1))


def test_linear_kernel_distance_is_monais():
    first, second = points(50, 0), points(50, 1) + 0.5
    monai = MMDMetric()(first, second).item() / first.shape[1]
    assert kernel_distance(first, second, degree=1) == pytest.approx(monai, abs=1e-9)


def test_cubic_kernel_sees_spread():
    first = points(600, 0)
    assert abs(kernel_distance(first, points(600, 1))) < 0.05
    assert kernel_distance(first, 2 * points(600, 1)) > 1
    assert abs(kernel_distance(first, 2 * points(600, 1), degree=1)) < 0.05, "means alone do not differ"


def test_frechet_distance_of_gaussians_and_monais():
    first, second = points(800, 0), 2 * points(800, 1) + 3
    assert frechet_distance(first, second) == pytest.approx(3**2 + (2 - 1) ** 2, rel=0.03)  # per feature
    assert frechet_distance(first, second) == pytest.approx(FIDMetric()(first, second).item() / 6, rel=1e-6)
