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


def spherical_distance_squared(first: Tensor, second: Tensor) -> Tensor:
    r"""Square of the angle between unit vectors, :math:`(2 \arcsin(\lVert a - b \rVert / 2))^2`; (B, E) twice to (B,).

    Equal to :math:`\arccos(a \cdot b)^2`, with a gradient where both are the same.
    """
    half = (first - second).square().sum(dim=1).clamp_min(1e-12).sqrt() / 2
    return (2 * torch.arcsin(half.clamp(max=1 - 1e-6))).square()


class SemanticAlignment(nn.Module):
    """Mean squared angle between the embeddings of generated slices and their domain's mean embedding.

    The mean embedding, of unit length, is that of all the client's own slices of a domain. It is computed once, when
    the training begins, is part of its state, and does not leave the client.

    Args:
        encoder: describes slices.
        weight: of the term, for the caller; 0: nothing is computed.
        dataset: the client's slices, with "image" (1, S, S) and "domain" ().
        domains: names of all domains.
    Source: Galati et al. 2024 (published weight 50, in rounds that follow the training).
    """

    def __init__(
        self, encoder: ImageEncoder, weight: float, dataset: Dataset, domains: Sequence[str]
    ) -> None:
        super().__init__()
        self.weight, self._dataset = weight, dataset
        self.encoder = encoder if weight else None
        if weight:
            self.register_buffer("means", torch.zeros(len(domains), encoder.width))

    @property
    def active(self) -> bool:
        """Whether the term is wanted."""
        return self.encoder is not None

    @torch.no_grad()
    def begin(self, discriminator: Discriminator) -> None:
        """Compute the mean embeddings, with the discriminator as the training begins with it."""
        if not self.active:
            return
        self.encoder.prepare(discriminator)
        sums, device = torch.zeros_like(self.means), self.means.device
        for first in range(0, len(self._dataset), BATCH):
            items = [self._dataset[i] for i in range(first, min(first + BATCH, len(self._dataset)))]
            embedded = self.encoder(torch.stack([item["image"] for item in items]).to(device))
            sums.index_add_(0, torch.stack([item["domain"] for item in items]).to(device), embedded)
        self.means.copy_(F.normalize(sums, dim=1))

    def forward(self, images: Tensor, domain: Tensor) -> Tensor:
        """The term, a scalar, of generated ``images`` (B, 1, S, S) of the client's own domains, ``domain`` (B,)."""
        return spherical_distance_squared(self.encoder(images), self.means[domain]).mean()
