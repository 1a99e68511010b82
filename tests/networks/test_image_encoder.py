"""Encoders give unit vectors, the same for the same slice, and let gradients through to slices alone."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.image_encoder import (
    DiscriminatorEncoder,
    ImageEncoder,
    RandomEncoder,
    RandomFeatures,
)

IMAGES = torch.rand(5, 1, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def discriminator(seed: int) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(24, 2, 4, (8, 8, 6, 4), width=8)


@pytest.fixture(params=["random", "discriminator"])
def encoder(request) -> ImageEncoder:
    return RandomEncoder() if request.param == "random" else DiscriminatorEncoder(discriminator(0))


def test_embeddings_are_of_unit_length_and_do_not_depend_on_the_batch(encoder):
    whole = encoder(IMAGES)
    assert whole.shape == (5, encoder.width)
    assert torch.allclose(whole.norm(dim=1), torch.ones(5), atol=1e-6)
    assert torch.allclose(torch.cat([encoder(image[None]) for image in IMAGES]), whole, atol=1e-5)


def test_slices_get_gradient_and_the_encoder_none(encoder):
    images = IMAGES.clone().requires_grad_()
    encoder(images)[:, 0].sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(not parameter.requires_grad for parameter in encoder.parameters())


def test_random_encoders_of_one_seed_agree_and_of_two_do_not():
    assert torch.equal(RandomEncoder(3)(IMAGES), RandomEncoder(3)(IMAGES))
    assert not torch.allclose(RandomEncoder(3)(IMAGES), RandomEncoder(4)(IMAGES), atol=1e-2)


def test_an_empty_slice_is_the_origin_of_random_features_whatever_its_size():
    for size in (24, 48):
        assert float(RandomEncoder().features(torch.full((1, 1, size, size), -1.0)).abs().max()) < 0.5


def test_the_discriminators_copy_is_that_of_the_beginning():
    live = discriminator(1)
    encoder = DiscriminatorEncoder(discriminator(0))
    encoder.prepare(live)
    before = encoder(IMAGES)
    with torch.no_grad():
        live.final_linear.weight += 1
    assert torch.equal(encoder(IMAGES), before)
    assert live.group_size == 4 and live.final_linear.weight.requires_grad


def test_a_discriminator_of_label_maps_is_refused():
    with pytest.raises(
        InputError, match="found one of 3 channels, which sees label maps too; use another encoder"
    ):
        DiscriminatorEncoder(Discriminator(24, 2, 4, (8, 8, 6, 4), width=8, image_channels=3))


def test_without_a_discriminator_that_learns_there_is_nothing_to_copy():
    with pytest.raises(InputError, match="found frozen_features; use another encoder"):
        DiscriminatorEncoder(None)


def test_features_have_the_documented_width():
    assert RandomFeatures(channels=4, levels=2)(torch.rand(3, 1, 16, 16)).shape == (3, 3 + 2 * 4 * 2)


def test_mean_and_spread_of_the_slice_come_first():
    images = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    mean, spread, gradient = RandomFeatures(channels=2, levels=1)(images)[0, :3]
    assert (mean, spread) == (0.5, images.std()) and gradient == 0.5
