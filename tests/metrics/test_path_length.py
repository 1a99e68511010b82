from __future__ import annotations

import pytest
import torch

from shared_components.metrics.frechet import random_features
from shared_components.metrics.path_length import perceptual_path_length
from shared_components.networks.generator import Generator
from shared_components.networks.random_features import RandomFeatures

HEIGHTS = (torch.arange(8) + 0.5) / 8


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(16, 2, 4, channels=(8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=1.0).eval()


@pytest.fixture
def spread(generator):
    drawn = generator(torch.randn(32, 8), torch.zeros(32, dtype=torch.int64), HEIGHTS.repeat(4)).detach()
    return random_features(drawn).std(0).clamp_min(1e-6)


def test_it_is_the_squared_slope_of_the_features(generator, spread):
    """Of one pair: against the derivative along the path, by automatic differentiation."""
    found = perceptual_path_length(generator, 1, HEIGHTS, spread, pairs=1, seed=3)
    random = torch.Generator().manual_seed(3)
    z = torch.randn(2, 1, 8, generator=random, dtype=torch.float64)
    height = HEIGHTS.double()[torch.randint(8, (1,), generator=random)]
    place = torch.rand(1, 1, generator=random, dtype=torch.float64)
    noise, exact = generator.sample_noise(1, random), generator.double()
    ends = [exact.mapping(one, torch.tensor([1]), height) for one in z]
    features = RandomFeatures().double()

    def along(t):
        return features(exact.synthesis(exact.to_w_plus(torch.lerp(*ends, t)), noise).image)

    slope = torch.autograd.functional.jvp(along, place, torch.ones_like(place))[1] / spread
    assert found == pytest.approx(slope.square().mean().item(), rel=1e-3)


def test_a_stretched_space_of_latents_is_longer(generator, spread):
    before = perceptual_path_length(generator, 0, HEIGHTS, spread, pairs=16)
    with torch.no_grad():
        generator.mapping_network[-1].weight.mul_(3)
    assert perceptual_path_length(generator, 0, HEIGHTS, spread, pairs=16) > 2 * before


def test_it_is_the_same_each_time_and_leaves_generator_and_random_state_alone(generator, spread):
    state, weights = torch.get_rng_state(), generator.constant.clone()
    first = perceptual_path_length(generator, 0, torch.full((3,), torch.nan), spread, pairs=40)
    assert perceptual_path_length(generator, 0, torch.full((3,), torch.nan), spread, pairs=40) == first
    assert torch.equal(state, torch.get_rng_state()) and torch.equal(weights, generator.constant)
    assert generator.constant.dtype == torch.float32
