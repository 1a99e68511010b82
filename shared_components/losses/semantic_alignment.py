"""Generated slices are drawn towards the mean of their client's own, as a frozen encoder sees them: refinement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from shared_components.networks.discriminator import Discriminator
from shared_components.networks.image_encoder import ImageEncoder

BATCH = 64  # slices that are encoded at a time


def spherical_distance(first: Tensor, second: Tensor) -> Tensor:
    r"""Angle between unit vectors, :math:`2 \arcsin(\lVert a - b \rVert / 2)`; (B, E) twice to (B,).

    Equal to :math:`\arccos(a \cdot b)`, with a gradient where both are the same.
    """
    half = (first - second).square().sum(dim=1).clamp_min(1e-12).sqrt() / 2
    return 2 * torch.arcsin(half.clamp(max=1 - 1e-6))


class SemanticAlignment(nn.Module):
    r"""Mean of :math:`\max(0, \alpha - \alpha_k)^2`, α the angle of a generated slice's embedding to its domain's mean.

    The mean embedding, of unit length, is that of all the client's own slices of domain k, and a share of these lies
    within the angle :math:`\alpha_k` of it. Both are computed once, when the training begins, are part of its state,
    and do not leave the client.

    Args:
        encoder: describes slices.
        weight: of the term, for the caller; 0: nothing is computed.
        dataset: the client's slices, with "image" (1, S, S) and "domain" ().
        domains: names of all domains.
        share: of the client's own slices that count as near enough; 0: none, every slice is drawn to the mean.
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
    ) -> None:
        super().__init__()
        self.weight, self.share, self._dataset = weight, share, dataset
        self.encoder = encoder if weight else None
        if weight:
            self.register_buffer("means", torch.zeros(len(domains), encoder.width))
            self.register_buffer("near", torch.zeros(len(domains)))  # α_k, radians

    @property
    def active(self) -> bool:
        """Whether the term is wanted."""
        return self.encoder is not None

    @torch.no_grad()
    def begin(self, discriminator: Discriminator) -> None:
        """Compute means and angles, with the discriminator as the training begins with it."""
        if not self.active:
            return
        self.encoder.prepare(discriminator)
        embedded, domains = self._own()
        sums = torch.zeros_like(self.means).index_add_(0, domains, embedded)
        self.means.copy_(F.normalize(sums, dim=1))
        angles = spherical_distance(embedded, self.means[domains])
        for domain in domains.unique() if self.share else ():
            self.near[domain] = angles[domains == domain].quantile(self.share)

    def _own(self) -> tuple[Tensor, Tensor]:
        """Embeddings (N, E) and domains (N,) of all the client's slices."""
        embedded, domains = [], []
        for first in range(0, len(self._dataset), BATCH):
            items = [self._dataset[i] for i in range(first, min(first + BATCH, len(self._dataset)))]
            images = torch.stack([item["image"] for item in items])
            embedded.append(self.encoder(images.to(self.means.device)))
            domains += [item["domain"] for item in items]
        return torch.cat(embedded), torch.stack(domains).to(self.means.device)

    def forward(self, images: Tensor, domain: Tensor) -> Tensor:
        """The term, a scalar, of generated ``images`` (B, 1, S, S) of the client's own domains, ``domain`` (B,)."""
        angles = spherical_distance(self.encoder(images), self.means[domain])
        return F.relu(angles - self.near[domain]).square().mean()
