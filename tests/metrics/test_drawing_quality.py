from __future__ import annotations

import pytest
import torch
from monai.metrics import FIDMetric, MMDMetric
from monai.metrics.fid import get_fid_score
from torch.nn import functional

from shared_components.errors import InputError
from shared_components.metrics import feature_distance, neighbour_difference
from shared_components.metrics.drawing_quality import (
    density_and_coverage,
    frechet_distance,
    kernel_distance,
    perceptual_path_length,
    random_features,
)
from shared_components.networks.generator import Generator
from shared_components.networks.image_encoder import RandomFeatures


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
    # its expectation for k = 5, Naeem et al., Eq. 10
    assert found.coverage == pytest.approx(1 - 0.5**5, abs=0.05)


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
    ends = [exact.w_plus(one, torch.tensor([1]), height) for one in z]
    features = RandomFeatures().double()

    def along(t):
        return features(exact.synthesis(torch.lerp(*ends, t), noise).image)

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


def test_the_mean_step_from_slice_to_slice():
    volume = torch.tensor([0.0, 0.5, -0.5, -0.5]).expand(1, 6, 5, 4)
    assert neighbour_difference(volume) == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert neighbour_difference(torch.ones(4, 4, 9)) == 0


@pytest.mark.parametrize("shape", [(4, 4, 1), (7,)])
def test_a_single_slice_has_no_neighbour(shape):
    with pytest.raises(InputError, match=r"at least two slices \(..., D\), found"):
        neighbour_difference(torch.zeros(shape))
