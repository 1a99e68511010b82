"""A network that nobody trained, which describes slices without a download."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RandomFeatures(nn.Module):
    """A fixed random convolutional network that describes a slice by statistics of its responses.

    Random filters with a rectifier react to edges and texture at several scales; mean and spread of each
    response over the slice, with the slice's own mean, spread and mean gradient, are its features.

    Args:
        seed: of the filters; the same seed gives the same features on every machine.
        channels: filters per level.
        levels: number of resolutions, each half of the one before.
    """

    def __init__(self, seed: int = 0, channels: int = 16, levels: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        widths = [1] + [channels] * levels
        for level in range(levels):
            filters = torch.randn(channels, widths[level], 3, 3, generator=generator)
            filters = filters / filters.flatten(1).norm(dim=1)[:, None, None, None]
            self.register_buffer(f"filters_{level}", filters)
        self.levels = levels

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 1, H, W)`` in [-1, 1] to ``(B, F)`` with F = 3 + 2 · channels · levels."""
        features = [_image_statistics(images)]
        response = images
        for level in range(self.levels):
            if level:
                response = functional.avg_pool2d(response, 2)
            response = functional.leaky_relu(
                functional.conv2d(response, getattr(self, f"filters_{level}"), padding=1), 0.2
            )
            features += [response.mean(dim=(2, 3)), response.std(dim=(2, 3))]
        return torch.cat(features, dim=1)


def _image_statistics(images: Tensor) -> Tensor:
    rows, columns = images.diff(dim=2).abs(), images.diff(dim=3).abs()
    return torch.cat(
        [images.mean((2, 3)), images.std((2, 3)), (rows.mean((2, 3)) + columns.mean((2, 3))) / 2], dim=1
    )
