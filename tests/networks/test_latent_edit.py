from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import (
    LatentEdit,
    mean_at,
    means_by_position,
    semantic_directions,
    shares_of,
    style_weights,
    typical_distance,
)
from shared_components.networks.style_layers import ModulatedConv2d
from tests.networks.small import small_generator

DOMAIN, HEIGHTS = torch.tensor([0, 1, 1]), torch.tensor([0.1, 0.4, 0.9])


@pytest.fixture
def generator() -> Generator:
    return small_generator(mapping_lr=1.0)


@pytest.fixture
def w_plus(generator) -> torch.Tensor:
    with torch.no_grad():
        return generator.w_plus(torch.randn(3, 8), DOMAIN, HEIGHTS)


def test_without_an_edit_nothing_changes(generator, w_plus):
    assert torch.equal(LatentEdit(generator)(w_plus, DOMAIN, HEIGHTS), w_plus)


@pytest.mark.parametrize("truncation", [0.0, 0.3, 1.5])
def test_truncation_is_towards_the_domains_mean_at_the_slices_height(generator, w_plus, truncation):
    mean = mean_at(means_by_position(generator), DOMAIN, HEIGHTS)
    found = LatentEdit(generator, truncation)(w_plus, DOMAIN, HEIGHTS)
    assert torch.allclose(found, mean + truncation * (w_plus - mean), atol=1e-5)
    assert not torch.allclose(mean[1], mean[2], atol=1e-3)


def test_a_step_goes_along_the_direction_in_its_rows_alone(generator, w_plus):
    edit = LatentEdit(generator, direction=2, strength=-0.5, rows=[1, 3])
    moved = edit(w_plus, DOMAIN, HEIGHTS) - w_plus
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


def test_a_strength_without_a_direction_is_refused(generator):
    with pytest.raises(InputError, match=r"strength: expected the direction that goes with 0\.5, found none"):
        LatentEdit(generator, strength=0.5)


def test_a_direction_that_is_not_there_is_refused(generator):
    with pytest.raises(InputError, match="direction: expected one of 0 to 11, or null, found 12"):
        LatentEdit(generator, direction=12)
    with pytest.raises(InputError, match="direction_rows: expected"):
        LatentEdit(generator, rows=[0, 99])


@pytest.fixture
def slow_mapping() -> Generator:
    return small_generator()


def test_each_row_names_the_layers_that_it_reaches(slow_mapping):
    reached = {}
    for layer in slow_mapping.modules():
        if isinstance(layer, ModulatedConv2d):
            layer.register_forward_hook(lambda layer, args, _: reached.update({layer: args[1][0, 0]}))
    rows = torch.arange(float(slow_mapping.rows))
    slow_mapping.synthesis(rows[None, :, None].expand(1, -1, 12), "none")
    for row in range(slow_mapping.rows):
        wanted = [layer.affine.weight * layer.affine.scale for layer, w in reached.items() if w == row]
        found = style_weights(slow_mapping, row)
        assert len(found) == len(wanted) and all(any(torch.equal(f, w) for w in wanted) for f in found)
    assert (
        sum(len(style_weights(slow_mapping, row)) for row in range(slow_mapping.rows)) == len(reached) == 11
    )


@pytest.mark.parametrize("rows", [None, [2, 4], [7, 7]])
def test_they_are_the_right_singular_vectors_of_the_style_weights(slow_mapping, rows):
    first, last = rows or (0, slow_mapping.rows - 1)
    weights = [w for row in range(first, last + 1) for w in style_weights(slow_mapping, row)]
    stacked = torch.cat(weights).detach().numpy().astype(np.float64)
    _, singular, expected = np.linalg.svd(stacked)
    found = semantic_directions(slow_mapping, rows)
    rank = len(singular)
    np.testing.assert_allclose(found.shares[:rank], singular**2 / (singular**2).sum(), atol=1e-6)
    np.testing.assert_allclose(np.abs((found.vectors[:rank].numpy() * expected[:rank]).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(12), atol=1e-5)
    assert float(found.shares[rank:].sum()) < 1e-6


def test_a_direction_that_alone_changes_the_styles_comes_first_and_points_upwards(
    slow_mapping,
):
    with torch.no_grad():
        for layer in slow_mapping.modules():
            if isinstance(layer, ModulatedConv2d):
                layer.affine.weight.zero_()
        slow_mapping.layers[2].convolution.affine.weight[:, 5] = -3.0
    found = semantic_directions(slow_mapping)
    assert torch.equal(found.vectors[0], torch.eye(12)[5]) and float(found.shares[0]) == 1


@pytest.mark.parametrize("rows", [[0, 8], [-1, 2], [3, 2]])
def test_rows_that_are_not_there_are_refused(slow_mapping, rows):
    with pytest.raises(InputError, match=r"direction_rows: expected \[first, last\] within .* rows 0 to 7"):
        semantic_directions(slow_mapping, rows)


NOWHERE = torch.tensor([torch.nan])


def test_means_are_those_of_w_plus_at_every_position(slow_mapping):
    state = torch.get_rng_state()
    means = means_by_position(slow_mapping, samples=32, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert means.shape == (2, 4, 8, 12) and torch.equal(means, means_by_position(slow_mapping, 32, seed=3))
    z = torch.randn(32, 8, generator=torch.Generator().manual_seed(3))
    one = torch.ones(32, dtype=torch.long)
    for position in range(4):
        height = torch.full((32,), (position + 0.5) / 4)
        assert torch.allclose(means[1, position], slow_mapping.w_plus(z, one, height).mean(0), atol=1e-5)
    assert not torch.allclose(means[0], means[1], atol=1e-2)


def test_a_domain_without_heights_has_one_mean(slow_mapping):
    slow_mapping.remember(torch.tensor([1]), NOWHERE)
    tall, flat = means_by_position(slow_mapping, samples=16)[:2]
    assert torch.allclose(flat, flat[:1].expand_as(flat)) and not torch.allclose(tall[0], tall[1], atol=1e-3)
    assert torch.allclose(mean_at(means_by_position(slow_mapping, 16), torch.tensor([1]), NOWHERE), flat[:1])


def test_between_two_positions_means_are_mixed():
    means = torch.arange(6.0).view(2, 3, 1, 1)
    found = mean_at(means, torch.tensor([0, 1, 1, 1]), torch.tensor([0.5, 0.0, 0.25, 1.0]))[:, 0]
    assert torch.allclose(found, torch.tensor([[1.0], [3.0], [3.25], [5.0]]))


def test_without_a_height_all_positions_have_the_same_share():
    assert shares_of(torch.tensor([torch.nan, 0.125]), 4).tolist() == [[0.25] * 4, [1, 0, 0, 0]]
