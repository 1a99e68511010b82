"""The mean of a client's slices as a frozen encoder sees them: generated ones are drawn to it, or told of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from shared_components.errors import InputError
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.generator import Generator
from shared_components.networks.image_encoder import ImageEncoder


def spherical_distance(first: Tensor, second: Tensor) -> Tensor:
    r"""Angle between unit vectors, :math:`2 \arcsin(\lVert a - b \rVert / 2)`; (B, E) twice to (B,).

    Equal to :math:`\arccos(a \cdot b)`, with a gradient where both are the same.
    """
    half = (first - second).square().sum(dim=1).clamp_min(1e-12).sqrt() / 2
    return 2 * torch.arcsin(half.clamp(max=1 - 1e-6))


class SemanticAlignment(nn.Module):
    r"""Mean of :math:`\max(0, \alpha - \alpha_k)^2`, α the angle of a generated slice's embedding to its domain's mean.

    The mean embedding, of unit length, is that of all the client's own slices of domain k, and a share of these lies
    within the angle :math:`\alpha_k` of it. Both are computed once, when the training begins, and part of its state.
    They do not leave the client, except for the mean where the generator's condition takes it (:meth:`inform`).

    Args:
        encoder: describes slices.
        weight: of the term, for the caller; 0: there is none.
        dataset: the client's slices, with "image" (1, S, S) and "domain" ().
        domains: names of all domains.
        share: of the client's own slices that count as near enough; 0: none, every slice is drawn to the mean.
        condition: width of the encoding that the generator's condition takes; 0: it takes none. Without weight and
            condition nothing is computed.
    Raises:
        InputError: the condition's width is not the encoder's, or the encoder is the client's own.
    Source: Galati et al. 2024 (published weight 50, in rounds that follow the training).
    Deviation: :math:`\alpha_k`; the published one is 0. CLIP sees hardly a difference between two slices of a scanner;
    for other encoders heights differ, and the mean of all would be drawn at every height.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        weight: float,
        dataset: Dataset,
        domains: Sequence[str],
        share: float = 0.0,
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.weight, self.share, self._dataset = weight, share, dataset
        self.informs = bool(condition)
        self.encoder = encoder if weight or condition else None
        if condition:
            _refuse_unfit(encoder, condition)
        if self.encoder is not None:
            self.register_buffer("means", torch.zeros(len(domains), encoder.width))
            self.register_buffer("near", torch.zeros(len(domains)))  # α_k, radians

    @property
    def active(self) -> bool:
        """Whether the term is wanted."""
        return bool(self.weight)

    @torch.no_grad()
    def begin(self, discriminator: Discriminator) -> None:
        """Compute means and angles, with the discriminator as the training begins with it."""
        if self.encoder is None:
            return
        self.encoder.prepare(discriminator)
        embedded, domains = self.encoder.embedded(self._dataset, self.means.device)
        sums = torch.zeros_like(self.means).index_add_(0, domains, embedded)
        self.means.copy_(F.normalize(sums, dim=1))
        angles = spherical_distance(embedded, self.means[domains])
        for domain in domains.unique() if self.share else ():
            self.near[domain] = angles[domains == domain].quantile(self.share)

    @torch.no_grad()
    def inform(self, *generators: Generator) -> None:
        """Put the means of the client's own domains into the generators' conditions, if these take them."""
        if not self.informs:
            return
        own = (self.means != 0).any(dim=1, keepdim=True)
        for generator in generators:
            encodings = generator.condition.encodings
            encodings.copy_(torch.where(own, self.means, encodings))

    def forward(self, images: Tensor, domain: Tensor) -> Tensor:
        """The term, a scalar, of generated ``images`` (B, 1, S, S) of the client's own domains, ``domain`` (B,)."""
        angles = spherical_distance(self.encoder(images), self.means[domain])
        return F.relu(angles - self.near[domain]).square().mean()


def _refuse_unfit(encoder: ImageEncoder, width: int) -> None:
    if not encoder.common:
        raise InputError(
            "semantic_condition: expected an image_encoder that is the same at all clients, found one of the client's "
            "own; use another encoder, or semantic_condition: 0"
        )
    if encoder.width != width:
        raise InputError(
            f"semantic_condition: expected {encoder.width}, the width of the image_encoder's embedding, found {width}; "
            f"set semantic_condition: {encoder.width}"
        )
