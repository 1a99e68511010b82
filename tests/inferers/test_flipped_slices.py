from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer
from torch import nn

from shared_components.errors import InputError
from shared_components.inferers import FlippedSliceInferer

SLICES = {"roi_size": (-1, -1), "spatial_dim": 2, "sw_batch_size": 2}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 3, 3, padding=1)


def test_without_flips_it_is_monais(network):
    volume = torch.rand(1, 1, 8, 6, 5)
    assert torch.equal(
        FlippedSliceInferer(**SLICES)(volume, network), SliceInferer(**SLICES)(volume, network)
    )


@pytest.mark.parametrize("flips", [[0], [1], [0, 1]])
def test_a_mirrored_volume_has_the_mirrored_probabilities(network, flips):
    inferer, volume = FlippedSliceInferer(flips=flips, **SLICES), torch.rand(1, 1, 8, 6, 5)
    found = inferer(volume, network)
    assert found.shape == (1, 3, 8, 6, 5)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 8, 6, 5))
    for axis in (0, 1):
        same = torch.allclose(inferer(volume.flip(axis + 2), network).flip(axis + 2), found, atol=1e-5)
        assert same == (axis in flips)


def test_is_the_mean_over_both_sides(network):
    volume = torch.rand(1, 1, 8, 6, 2)
    found = FlippedSliceInferer(flips=[0], **SLICES)(volume, network).exp()
    plain = SliceInferer(**SLICES)
    expected = (plain(volume, network).softmax(1) + plain(volume.flip(2), network).softmax(1).flip(2)) / 2
    torch.testing.assert_close(found, expected)


def test_axes_that_slices_do_not_have():
    with pytest.raises(InputError, match="flips: expected in-plane axes"):
        FlippedSliceInferer(flips=[2], **SLICES)
