"""Segmentation network that separates a slice's anatomy from its look (method §3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.style_encoder import Codes
from shared_components.networks.weight_average import WeightAverage

ANATOMY_ACTIVATIONS = ("softmax", "none")


class DisentangledOutput(NamedTuple):
    """All that the losses need of a batch.

    anatomy: (B, A, H, W), before any softmax. scores: its first C channels, the class logits (B, C, H, W).
    codes: style and domain code of the image. domain_logits: (B, K), from the domain code.
    reconstruction: (B, 1, H, W). reencoded: the codes of the reconstruction.
    """

    anatomy: Tensor
    scores: Tensor
    codes: Codes
    domain_logits: Tensor
    reconstruction: Tensor
    reencoded: Codes


class DisentangledNetwork(nn.Module):
    """Anatomy encoder, style encoder, domain classifier and decoder as one module.

    Args:
        anatomy_encoder: (B, 1, H, W) to (B, A, H, W); the first C channels are the class logits.
        style_encoder: (B, 1, H, W) to :class:`Codes`; has the attribute ``domain_size``.
        decoder: (anatomy, [z_s, z_d]) to (B, 1, H, W); has the attribute ``anatomy_channels``.
        classes: number of classes C, background included.
        domains: number of source domains K.
        average: decay of the running average of the anatomy encoder's weights, over updates; 0: no averaging.
        anatomy_activation: "softmax" gives the decoder the anatomy soft-maxed over its channels, so that
            intensities cannot pass through it; "none" gives it as it is.
    Raises:
        InputError: fewer anatomy channels than classes, an unknown activation, or a decay that is none.
    Attributes:
        averaged_encoder: the anatomy encoder's :class:`WeightAverage`, renewed by :meth:`update_average`; its
            ``module`` segments.
    Source: Liu et al. 2021 (DGNet), Sec. 2.1.
    """

    def __init__(
        self,
        anatomy_encoder: nn.Module,
        style_encoder: nn.Module,
        decoder: nn.Module,
        classes: int,
        domains: int,
        anatomy_activation: str = "softmax",
        average: float = 0.99,
    ) -> None:
        super().__init__()
        check_channels(decoder.anatomy_channels, classes)
        if anatomy_activation not in ANATOMY_ACTIVATIONS:
            raise InputError(
                f"anatomy_activation: expected one of {list(ANATOMY_ACTIVATIONS)}, found '{anatomy_activation}'"
            )
        self.classes, self.anatomy_activation = classes, anatomy_activation
        self.anatomy_encoder = anatomy_encoder
        self.style_encoder = style_encoder
        self.domain_classifier = nn.Linear(style_encoder.domain_size, domains)
        self.decoder = decoder
        self.averaged_encoder = WeightAverage(self.anatomy_encoder, average)

    def update_average(self, before: int = 0) -> None:
        """Move the averaged encoder towards the anatomy encoder; once an update, ``before`` of which are done."""
        self.averaged_encoder.update_parameters(self.anatomy_encoder, before)

    def forward(self, image: Tensor) -> DisentangledOutput:
        """``image`` (B, 1, H, W) in [-1, 1] to everything that is made of it.

        Raises:
            InputError: the anatomy encoder has another number of channels than the decoder expects.
        """
        anatomy = self.encode_anatomy(image)
        codes = self.style_encoder(image)
        reconstruction = self.decode(anatomy, codes.style.sample, codes.domain.sample)
        return DisentangledOutput(
            anatomy=anatomy,
            scores=anatomy[:, : self.classes],
            codes=codes,
            domain_logits=self.domain_classifier(codes.domain.sample),
            reconstruction=reconstruction,
            reencoded=self.style_encoder(reconstruction),
        )

    def encode_anatomy(self, image: Tensor) -> Tensor:
        """Anatomy map (B, A, H, W), before any softmax, of ``image`` (B, 1, H, W)."""
        anatomy = self.anatomy_encoder(image)
        if anatomy.shape[1] != self.decoder.anatomy_channels:
            raise InputError(
                f"anatomy_encoder: expected {self.decoder.anatomy_channels} output channels, as many as the "
                f"decoder takes, found {anatomy.shape[1]}; give both the same anatomy_channels"
            )
        return anatomy

    def class_scores(self, image: Tensor) -> Tensor:
        """Class logits (B, C, H, W) alone of ``image`` (B, 1, H, W)."""
        return self.encode_anatomy(image)[:, : self.classes]

    def decode(self, anatomy: Tensor, style_sample: Tensor, domain_sample: Tensor) -> Tensor:
        """Images (B, 1, H, W) of an anatomy map (B, A, H, W), before any softmax, and codes (B, n), (B, m)."""
        if self.anatomy_activation == "softmax":
            anatomy = torch.softmax(anatomy, dim=1)
        return self.decoder(anatomy, torch.cat([style_sample, domain_sample], dim=1))


class AnatomySegmenter(nn.Module):
    """Class scores alone: what remains for inference of a trained :class:`DisentangledNetwork`.

    Args:
        anatomy_encoder: (B, 1, H, W) to (B, A, H, W).
        classes: number of classes C, background included.
    """

    def __init__(self, anatomy_encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.anatomy_encoder = anatomy_encoder
        self.classes = classes

    def forward(self, image: Tensor) -> Tensor:
        """``image`` (B, 1, H, W) to class logits (B, C, H, W).

        Raises:
            InputError: fewer anatomy channels than classes.
        """
        anatomy = self.anatomy_encoder(image)
        if not torch.jit.is_scripting():
            check_channels(anatomy.shape[1], self.classes)
        return anatomy[:, : self.classes]


def check_channels(anatomy_channels: int, classes: int) -> None:
    """The first ``classes`` anatomy channels are class logits: there must be as many.

    Raises:
        InputError: there are fewer.
    """
    if anatomy_channels < classes:
        raise InputError(
            f"anatomy_channels: expected at least {classes}, one for each class, found {anatomy_channels}; "
            "raise anatomy_channels or name fewer labels"
        )
