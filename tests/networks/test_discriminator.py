from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.discriminator import Discriminator, minibatch_standard_deviation
from shared_components.networks.style_layers import fir_downsample


@pytest.mark.parametrize(("size", "channels"), [(24, (8, 8, 6, 4)), (32, (8, 8, 8, 4))])
def test_shapes(size, channels):
    network = Discriminator(size, 3, 5, channels, width=16)
    logits = network(torch.randn(4, 1, size, size), torch.tensor([0, 1, 2, 0]), torch.arange(4) / 4)
    assert logits.shape == (4, 1)


def test_minibatch_standard_deviation_against_numpy():
    x = torch.randn(6, 3, 4, 4)
    out = minibatch_standard_deviation(x, group_size=3)
    groups = x.numpy().reshape(3, 2, -1)
    expected = np.sqrt(groups.var(axis=0) + 1e-8).mean(axis=1)
    assert out.shape == (6, 4, 4, 4)
    for n in range(6):
        assert np.allclose(out[n, 3].numpy(), expected[n % 2], atol=1e-5)


def test_group_falls_back_to_a_divisor_of_the_batch():
    x = torch.randn(5, 2, 3, 3)
    assert torch.allclose(minibatch_standard_deviation(x, 4)[:, 2], torch.full((5, 3, 3), 1e-4), atol=1e-6)


def test_logit_is_the_projection_on_the_condition():
    network = Discriminator(24, 3, 5, (8, 8, 6, 4), width=16)
    image, domain, position = torch.randn(2, 1, 24, 24), torch.tensor([0, 2]), torch.tensor([0.3, torch.nan])
    h, c = network.embed(image), network.condition(domain, position)
    assert torch.allclose(network(image, domain, position)[:, 0], (h * c).sum(1) / 4, atol=1e-6)
    assert not torch.allclose(network(image, domain, position), network(image, 2 - domain, position))


def test_a_size_that_its_channels_do_not_halve_to_is_refused_by_its_own_id():
    with pytest.raises(
        InputError, match=r"image_size 40 with 5 discriminator_channels: .* the number of disc"
    ):
        Discriminator(40, 3, 5, (8, 8, 8, 6, 4), width=16)


def test_coarse_images_enter_further_on_and_fading_mixes_two_entrances():
    network = Discriminator(24, 3, 5, (8, 8, 6, 4), width=16)
    image, zero = torch.randn(4, 1, 12, 12), torch.zeros(4, dtype=torch.long)
    height = torch.zeros(4)
    ends = [network.embed(image, fade) for fade in (1e-9, 1.0)]
    coarse = network.embed(fir_downsample(image))
    assert torch.allclose(ends[0], coarse, atol=1e-5) and not torch.allclose(ends[1], coarse)
    assert network(image, zero, height).shape == (4, 1)
    with pytest.raises(ValueError, match=r"expected a size among \(3, 6, 12, 24\) px"):
        network(torch.randn(4, 1, 20, 20), zero, height)
