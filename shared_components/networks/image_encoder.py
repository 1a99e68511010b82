"""Frozen networks that describe a slice by a vector of unit length: what a *semantic encoding* is made of.

One of them nobody has trained, and it needs no download.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from shared_components.errors import InputError
from shared_components.networks.discriminator import Discriminator

AIR = -1.0  # of slices in [-1, 1]
BATCH = 64  # slices that are encoded at a time


class ImageEncoder(nn.Module, ABC):
    """Slices to embeddings; its own parameters never train, gradients reach the slices.

    Attributes:
        width: of the embedding.
        common: whether embeddings of different clients can be compared.
    """

    width: int
    common: bool = True

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """``images`` (B, 1, S, S) in [-1, 1] to (B, width), of any length."""

    def prepare(self, discriminator: Discriminator) -> None:
        """Called once, before anything is encoded, with the discriminator as the training begins with it."""

    def forward(self, images: Tensor) -> Tensor:
        """``images`` (B, 1, S, S) in [-1, 1] to embeddings (B, width) of unit length."""
        return F.normalize(self.features(images), dim=1)

    @torch.no_grad()
    def embedded(self, dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
        """Embeddings (N, width) and domains (N,) of all slices of a dataset, which have "image" and "domain"."""
        embedded, domains = [], []
        for first in range(0, len(dataset), BATCH):
            items = [dataset[i] for i in range(first, min(first + BATCH, len(dataset)))]
            embedded.append(self(torch.stack([item["image"] for item in items]).to(device)))
            domains += [item["domain"] for item in items]
        return torch.cat(embedded), torch.stack(domains).to(device)


class RandomEncoder(ImageEncoder):
    """A fixed random convolutional network, the same everywhere by its seed; needs nothing.

    Features are told as deviations from those of an empty slice, which would else make all slices alike.

    Args:
        seed: of the filters.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.network = RandomFeatures(seed).requires_grad_(False)
        empty = self.network(torch.full((1, 1, 32, 32), AIR))
        self.register_buffer("empty", empty)
        self.width = empty.shape[1]

    def features(self, images: Tensor) -> Tensor:
        return self.network(images) - self.empty


class DiscriminatorEncoder(ImageEncoder):
    """What the client's own discriminator saw in a slice when the training began; a copy that trains no more.

    For a federation that goes on from a run, whose clients have trained discriminators.

    Args:
        discriminator: of the shape of the one to come; None where a config has none, with ``frozen_features``.
    Raises:
        InputError: it sees label maps, too, or there is none.
    """

    common = False

    def __init__(self, discriminator: Discriminator | None) -> None:
        super().__init__()
        if discriminator is None:
            raise InputError(
                "image_encoder: expected a discriminator that learns its features, found frozen_features; use another "
                "encoder"
            )
        channels = discriminator.from_image[0].weight.shape[1]
        if channels != 1:
            raise InputError(
                f"image_encoder: expected a discriminator of images alone, found one of {channels} channels, which "
                "sees label maps too; use another encoder"
            )
        self.network = copy.deepcopy(discriminator).requires_grad_(False)
        self.network.group_size = 1  # a slice's embedding must not depend on the others of its batch
        self.width = self.network.final_linear.bias.shape[0]

    def prepare(self, discriminator: Discriminator) -> None:
        self.network.load_state_dict(discriminator.state_dict())

    def features(self, images: Tensor) -> Tensor:
        return self.network.embed(images)


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
