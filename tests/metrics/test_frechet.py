from __future__ import annotations

import pytest
import torch
from monai.metrics.fid import get_fid_score
from torch.nn import functional

from shared_components.errors import InputError
from shared_components.metrics import feature_distance
from shared_components.metrics.frechet import frechet_distance


def textures(count: int, seed: int, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 1, size + 4, size + 4, generator=generator)
    return torch.tanh(functional.avg_pool2d(noise, 5, stride=1) * 3)


def test_it_agrees_with_the_matrix_square_root_where_that_is_well_conditioned():
    torch.manual_seed(0)
    first = torch.randn(200, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    second = torch.randn(150, 6, dtype=torch.float64) + 0.3
    expected = get_fid_score(first, second) / 6
    assert frechet_distance(first, second) == pytest.approx(expected.item(), rel=1e-6)


def test_shifted_gaussians_are_apart_by_the_shift_alone():
    features = torch.randn(5, 8, dtype=torch.float64)  # fewer slices than features
    shift = torch.arange(8, dtype=torch.float64)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(features, features + shift) == pytest.approx(shift.square().mean().item())


def test_it_grows_with_the_change_and_is_near_zero_without():
    real = textures(96, 0)
    same = feature_distance(real, textures(96, 1))
    shifts = [feature_distance(real, textures(96, 1) * 0.9 + shift) for shift in (0.05, 0.15, 0.4)]
    blurred = feature_distance(real, functional.avg_pool2d(textures(96, 1), 3, stride=1, padding=1))
    assert feature_distance(real, real) == pytest.approx(0, abs=1e-9)
    assert same < shifts[0] < shifts[1] < shifts[2]
    assert blurred > 3 * same


def test_it_is_the_same_each_time_and_leaves_the_random_state_alone():
    real, other = textures(8, 0), textures(6, 1)
    state = torch.get_rng_state()
    first = feature_distance(real, other, batch_size=3)
    assert torch.equal(state, torch.get_rng_state())
    assert feature_distance(real, other) == pytest.approx(first, rel=1e-5)
    assert feature_distance(real, other, seed=1) != pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize(
    ("real", "generated"),
    [((1, 1, 8, 8), (4, 1, 8, 8)), ((4, 1, 8, 8), (4, 1, 16, 16)), ((4, 8, 8), (4, 8, 8))],
)
def test_sets_that_cannot_be_compared_are_refused(real, generated):
    with pytest.raises(InputError, match="expected two sets of at least two slices"):
        feature_distance(torch.zeros(real), torch.zeros(generated))
