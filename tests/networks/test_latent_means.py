from __future__ import annotations

import pytest
import torch

from shared_components.networks.generator import Generator
from shared_components.networks.latent_means import mean_at, means_by_position, shares_of

NOWHERE = torch.tensor([torch.nan])


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01)


def test_means_are_those_of_the_mapping_at_every_position(generator):
    state = torch.get_rng_state()
    means = means_by_position(generator, samples=32, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert means.shape == (2, 4, 12) and torch.equal(means, means_by_position(generator, 32, seed=3))
    z = torch.randn(32, 8, generator=torch.Generator().manual_seed(3))
    one = torch.ones(32, dtype=torch.long)
    for position in range(4):
        height = torch.full((32,), (position + 0.5) / 4)
        assert torch.allclose(means[1, position], generator.mapping(z, one, height).mean(0), atol=1e-5)
    assert not torch.allclose(means[0], means[1], atol=1e-2)


def test_a_domain_without_heights_has_one_mean(generator):
    generator.remember(torch.tensor([1]), NOWHERE)
    tall, flat = means_by_position(generator, samples=16)[:2]
    assert torch.allclose(flat, flat[:1].expand(4, -1)) and not torch.allclose(tall[0], tall[1], atol=1e-3)
    assert torch.allclose(mean_at(means_by_position(generator, 16), torch.tensor([1]), NOWHERE), flat[:1])


def test_between_two_positions_means_are_mixed():
    means = torch.arange(6.0).view(2, 3, 1)
    found = mean_at(means, torch.tensor([0, 1, 1, 1]), torch.tensor([0.5, 0.0, 0.25, 1.0]))
    assert torch.allclose(found, torch.tensor([[1.0], [3.0], [3.25], [5.0]]))


def test_without_a_height_all_positions_have_the_same_share():
    assert shares_of(torch.tensor([torch.nan, 0.125]), 4).tolist() == [[0.25] * 4, [1, 0, 0, 0]]
