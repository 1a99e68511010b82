"""Networks that never train, and fixed features of slices at several scales, which need no download."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets.resnet import ResNetFeatures
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.weights import filled, read_weights

SMALLEST = 3  # px of the coarsest map, as of the discriminator that learns all its features
CALIBRATION = 4  # random images from which the scales' spreads are known


class FrozenFeatures(nn.Module):
    """Feature maps of a residual network, mixed at random between channels and then from coarse to fine.

    Each map is divided by its root mean square over random images, so that all scales count alike.

    Args:
        size: height and width of the images in px.
        image_channels: their channels.
        channels: of each map.
        scales: how many maps at most, the coarsest that have at least 3 px.
        seed: of all random weights; the same seed gives the same network.
        path: file with the residual network's weights, as ``state_dict()`` names them; None: random ones.
        network: name of the residual network, as MONAI has it.
    Attributes:
        sizes: height and width of each map in px, finest first.
        fingerprint: a number that differs for other weights.
    Raises:
        InputError: the weights do not fit, or the image is too small to have such a map.
    Source: Sauer et al. 2021, Projected GANs Converge Faster, Secs. 3.1 and 3.2.
    Deviation: random features by default, in place of those of a classifier of photographs.
    """

    def __init__(
        self,
        size: int,
        image_channels: int = 1,
        channels: int = 64,
        scales: int = 4,
        seed: int = 0,
        path: str | os.PathLike | None = None,
        network: str = "resnet10",
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(seed)  # of the CPU alone, which is put back afterwards
            self.network = ResNetFeatures(
                network, pretrained=False, spatial_dims=2, in_channels=image_channels
            )
            self.fingerprint = zlib.crc32(f"{network} {seed}".encode())
            if path is not None:
                weights = read_weights(path)
                filled(
                    self.network, weights, path, plan=f"MONAI's {network} of {image_channels} channels in 2-D"
                )
                self.fingerprint = _digest(weights, self.fingerprint)
            self.network.eval()
            images = _calibration_images(size, image_channels)
            maps = self.network(images)
            self._kept = [i for i, found in enumerate(maps) if found.shape[-1] >= SMALLEST][-scales:]
            if not self._kept:
                raise InputError(
                    f"image_size {size}: expected at least 5 px for frozen features; choose a larger one"
                )
            for stage in range(self._kept[-1] + 1, len(maps)):
                setattr(self.network, f"layer{stage}", nn.Identity())  # too coarse to be looked at
            widths = [maps[i].shape[1] for i in self._kept]
            self.sizes = tuple(maps[i].shape[-1] for i in self._kept)
            self.across = nn.ModuleList([_random_convolution(width, channels, 1) for width in widths])
            self.along = nn.ModuleList([_random_convolution(channels, channels, 3) for _ in widths])
            self.register_buffer("spreads", torch.ones(len(widths)))
            spreads = [found.square().mean().sqrt().clamp_min(1e-6) for found in self(images)]
            self.spreads.copy_(torch.stack(spreads))

    def forward(self, images: Tensor) -> list[Tensor]:
        """``images`` (B, image_channels, S, S) to maps (B, channels, s, s), finest first."""
        found = self.network(images)
        mixed: list[Tensor] = []
        for level in reversed(range(len(self._kept))):
            here = self.across[level](found[self._kept[level]])
            if mixed:
                here = here + F.interpolate(mixed[0], here.shape[-1], mode="bilinear", align_corners=False)
            mixed.insert(0, self.along[level](here))
        return [found / spread for found, spread in zip(mixed, self.spreads, strict=True)]


def _random_convolution(channels: int, width: int, kernel: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
    return convolution


def _calibration_images(size: int, channels: int) -> Tensor:
    """Random images (N, channels, size, size) in [-1, 1] with structure at every scale."""
    images, pixels = torch.zeros(CALIBRATION, channels, size, size), size
    while pixels >= 2:
        coarse = torch.randn(CALIBRATION, channels, pixels, pixels)
        images += F.interpolate(coarse, size, mode="bilinear", align_corners=False)
        pixels //= 2
    return images.tanh()


def _digest(weights: dict[str, Tensor], start: int) -> int:
    for name in sorted(weights):
        start = zlib.crc32(weights[name].contiguous().cpu().numpy().tobytes(), start)
    return start


class Frozen(nn.Module):
    """Holds a network that is the same wherever it is built, from a seed or a file.

    It follows its owner to a device, stays in evaluation mode and lets gradients through to its inputs. It is no child
    of an owner, whose ``parameters()``, ``state_dict()``, ``train()`` and ``requires_grad_()`` do not reach it: it is
    in no optimiser, checkpoint or exchange.

    Args:
        network: to hold; changed to what is said above.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = (network.eval().requires_grad_(False),)

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._held[0]

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def _apply(self, fn: Callable, *further: Any) -> Frozen:
        """``to()`` and its like, in the held network too."""
        self.network._apply(fn, *further)
        return super()._apply(fn, *further)
