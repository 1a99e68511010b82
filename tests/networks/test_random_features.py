from __future__ import annotations

import torch

from shared_components.networks.random_features import RandomFeatures


def test_features_have_the_documented_width():
    assert RandomFeatures(channels=4, levels=2)(torch.rand(3, 1, 16, 16)).shape == (3, 3 + 2 * 4 * 2)


def test_mean_and_spread_of_the_slice_come_first():
    images = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    mean, spread, gradient = RandomFeatures(channels=2, levels=1)(images)[0, :3]
    assert (mean, spread) == (0.5, images.std()) and gradient == 0.5
