from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import LatentEdit, typical_distance
from shared_components.networks.latent_means import mean_at, means_by_position
from shared_components.networks.semantic_directions import semantic_directions

DOMAIN, HEIGHTS = torch.tensor([0, 1, 1]), torch.tensor([0.1, 0.4, 0.9])


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=1.0)


@pytest.fixture
def w(generator) -> torch.Tensor:
    with torch.no_grad():
        return generator.mapping(torch.randn(3, 8), DOMAIN, HEIGHTS)


def test_without_an_edit_w_is_every_row(generator, w):
    assert torch.equal(LatentEdit(generator)(w, DOMAIN, HEIGHTS), generator.to_w_plus(w))


@pytest.mark.parametrize("truncation", [0.0, 0.3, 1.5])
def test_truncation_is_towards_the_domains_mean_at_the_slices_height(generator, w, truncation):
    mean = mean_at(means_by_position(generator), DOMAIN, HEIGHTS)
    found = LatentEdit(generator, truncation)(w, DOMAIN, HEIGHTS)
    expected = generator.to_w_plus(mean + truncation * (w - mean))
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(mean[1], mean[2], atol=1e-3)


def test_a_step_goes_along_the_direction_in_its_rows_alone(generator, w):
    edit = LatentEdit(generator, direction=2, strength=-0.5, rows=[1, 3])
    moved = edit(w, DOMAIN, HEIGHTS) - generator.to_w_plus(w)
    step = -0.5 * typical_distance(generator) * semantic_directions(generator, [1, 3]).vectors[2]
    assert torch.allclose(moved[:, 1:4], step.expand(3, 3, -1), atol=1e-5)
    assert not moved[:, 0].any() and not moved[:, 4:].any()


def test_typical_distance_is_the_root_of_the_mean_variance(generator):
    z = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    variances = []
    for domain in range(2):
        for position in range(4):
            height = torch.full((256,), (position + 0.5) / 4)
            w = generator.mapping(z, torch.full((256,), domain), height).detach()
            variances.append(w.var(0, correction=0).sum())
    assert typical_distance(generator) == pytest.approx(float(torch.stack(variances).mean().sqrt()), rel=1e-4)


def test_it_adds_nothing_to_weights(generator):
    assert list(LatentEdit(generator, 0.5, direction=0, strength=1.0).state_dict()) == []


def test_a_direction_that_is_not_there_is_refused(generator):
    with pytest.raises(InputError, match="direction: expected one of 0 to 11, or null, found 12"):
        LatentEdit(generator, direction=12)
    with pytest.raises(InputError, match="direction_rows: expected"):
        LatentEdit(generator, rows=[0, 99])
