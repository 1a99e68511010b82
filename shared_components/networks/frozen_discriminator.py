"""Discriminator on features that do not train, for few images (projected GAN)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.condition import ConditionEmbedding
from shared_components.networks.discriminator import minibatch_standard_deviation
from shared_components.networks.frozen_features import Frozen, FrozenFeatures
from shared_components.networks.style_layers import EqualConv2d, EqualLinear, resolutions, scaled_leaky_relu

LARGEST = 4  # px at which a head has seen enough of its map


class FeatureHead(nn.Module):
    """One map to h: 3×3 convolutions that halve it to 4 px or less, minibatch standard deviation, two more layers.

    Args:
        size: height and width of the map in px.
        channels: of the map, and of all that follows.
        width: of h.
        group_size: group of the minibatch standard deviation.
    """

    def __init__(self, size: int, channels: int, width: int, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size
        self.halving = nn.ModuleList()
        while size > LARGEST:
            self.halving.append(EqualConv2d(channels, channels, 3))
            size = (size + 1) // 2
        self.final_convolution = EqualConv2d(channels + 1, channels, 3)
        self.final_linear = EqualLinear(channels * size**2, width, activate=True)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, channels, s, s) to h (B, width)."""
        for convolution in self.halving:
            x = F.avg_pool2d(scaled_leaky_relu(convolution(x)), 2, ceil_mode=True)
        x = minibatch_standard_deviation(x, self.group_size)
        return self.final_linear(scaled_leaky_relu(self.final_convolution(x)).flatten(1))


class FrozenDiscriminator(nn.Module):
    """Scores a slice once for each scale of fixed features, for its domain and position.

    logit_l = Σ h_l ⊙ rms(embed(c)) / √width. The heads and the condition's embedding train; the features are in no
    state and never exchanged. A state knows by a fingerprint with which features it was trained.

    Args:
        size: height and width of a slice in px.
        domains: number of domains K.
        positions: number P of learnt positions along a volume, interpolated between.
        channels: widths of the generator per resolution; their number fixes the resolutions that images may have, the
            first is the width of features and heads.
        width: width of h.
        group_size: group of the minibatch standard deviation.
        image_channels: channels of the image.
        seed: of the features.
        path: file with weights for them; None: random ones. See :class:`FrozenFeatures`.
    Source: Sauer et al. 2021 (features, one discriminator for each scale); Miyato and Koyama 2018 (projection).
    Deviation: the condition, the minibatch standard deviation, the logistic loss instead of the hinge, no spectral
    norms; coarse images of progressive training are enlarged.
    """

    def __init__(
        self,
        size: int,
        domains: int,
        positions: int,
        channels: Sequence[int],
        width: int = 128,
        group_size: int = 4,
        image_channels: int = 1,
        seed: int = 0,
        path: str | os.PathLike | None = None,
    ) -> None:
        super().__init__()
        self.sizes = resolutions(size, len(channels), "discriminator_channels")
        features = FrozenFeatures(size, image_channels, channels[0], seed=seed, path=path)
        self.features = Frozen(features)
        self.heads = nn.ModuleList([FeatureHead(s, channels[0], width, group_size) for s in features.sizes])
        self.condition = ConditionEmbedding(domains, positions, width)
        self.register_buffer("fingerprint", torch.tensor(features.fingerprint, dtype=torch.int64))

    def forward(self, image: Tensor, domain: Tensor, position: Tensor, fade: float = 1.0) -> Tensor:
        """Logits (B, scales); arguments as of :meth:`Discriminator.forward`.

        Raises:
            ValueError: the image is of none of the resolutions.
        """
        if image.shape[-1] not in self.sizes:
            raise ValueError(f"image: expected a size among {self.sizes} px, found {tuple(image.shape)}")
        if fade < 1.0:
            image = torch.lerp(_enlarged(F.avg_pool2d(image, 2), image.shape[-1]), image, fade)
        maps = self.features(_enlarged(image, self.sizes[-1]))
        condition = self.condition(domain, position)
        logits = [(head(x) * condition).sum(dim=1) for head, x in zip(self.heads, maps, strict=True)]
        return torch.stack(logits, dim=1) / math.sqrt(condition.shape[1])

    def check_features(self) -> None:
        """Whether the state that was loaded was trained with these features; waits for the device.

        Raises:
            InputError: it was trained with others.
        """
        if int(self.fingerprint) != self.features.network.fingerprint:
            raise InputError(
                "frozen_features: expected the features with which the discriminator was trained, found others; give "
                "the same features_path everywhere and whenever a training goes on"
            )


def _enlarged(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=False)
