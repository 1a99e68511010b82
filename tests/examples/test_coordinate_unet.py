from __future__ import annotations

import torch
from torch import nn

from tests.examples.coordinate_unet import CoordinateUNet


def test_the_unet_sees_rows_and_columns_beside_the_image():
    network = CoordinateUNet(spatial_dims=2, out_channels=3, channels=[4, 8], strides=[2])
    image = torch.rand(2, 1, 8, 4)
    scores = network(image)
    assert scores.shape == (2, 3, 8, 4)
    assert torch.allclose(torch.jit.script(network)(image), scores, atol=1e-6)
    network.unet = nn.Identity()
    seen = network(image)
    assert torch.equal(seen[:, :1], image)
    assert torch.equal(seen[1, 1, :, 2], torch.linspace(-1, 1, 8))
    assert torch.equal(seen[1, 2, 5], torch.linspace(-1, 1, 4))
