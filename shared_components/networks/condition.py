"""What generator and discriminator are told of a slice: its domain, and where in a volume it lies."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shared_components.networks.style_layers import EqualLinear, rms_normalise


def place_of(heights: Tensor, positions: int) -> Tensor:
    """Weights (B, P) of the P learnt positions at ``heights`` (B,): linear between the two beside each.

    Position p lies at the relative height (p + 1/2) / P of a volume; below the first and above the last there is
    nothing to interpolate. A height that is NaN, that of an image without neighbours, has no position at all.
    """
    index = torch.arange(positions, device=heights.device, dtype=heights.dtype)
    place = (heights * positions - 0.5).clamp(0, positions - 1)
    weights = (1 - (place[:, None] - index).abs()).clamp_min(0)
    return torch.where(heights.isnan()[:, None], 0.0, weights)


class ConditionEmbedding(nn.Module):
    """e = rms-normalise(EqualLinear([one-hot domain, position])), the position as in :func:`place_of`.

    Args:
        domains: number of domains K.
        positions: number of learnt positions P.
        width: width of the embedding.
    Deviation: the published position is one of P bins; at the centres of the bins this is the same.
    """

    def __init__(self, domains: int, positions: int, width: int) -> None:
        super().__init__()
        self.domains, self.positions = domains, positions
        self.linear = EqualLinear(domains + positions, width)

    @torch.no_grad()
    def with_more_domains(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What has changed in ``tensors`` of an embedding that knew the first of the domains alone.

        New columns are the mean of the known ones; all are scaled, since the layer divides by the root of their number.
        """
        weight = tensors.get("linear.weight")
        known = 0 if weight is None else weight.shape[1] - self.positions
        if not 0 < known < self.domains:
            return {}
        domains, positions = weight[:, :known], weight[:, known:]
        new = domains.mean(dim=1, keepdim=True).expand(-1, self.domains - known)
        scale = math.sqrt((self.domains + self.positions) / weight.shape[1])
        return {"linear.weight": torch.cat([domains, new, positions], dim=1) * scale}

    def forward(self, domain: Tensor, position: Tensor) -> Tensor:
        """``domain`` (B,) integers, ``position`` (B,) relative heights in [0, 1], NaN for none; returns (B, width).

        Raises:
            ValueError: positions that are whole numbers, such as those of bins.
        """
        return self.learnt(domain, position)

    def learnt(self, domain: Tensor, position: Tensor) -> Tensor:
        """What has been learnt of domain and position alone; arguments as of :meth:`forward`."""
        if not position.is_floating_point():
            raise ValueError(f"position: expected heights in [0, 1] as floats, found {position.dtype}")
        place = place_of(position.to(self.linear.weight.dtype), self.positions)
        # compared, since torch's one_hot looks at the values first, for which an accelerator would be waited
        own = domain[:, None] == torch.arange(self.domains, device=domain.device)
        return rms_normalise(self.linear(torch.cat([own.to(place), place], dim=1)))

    def of_no_domain(self, position: Tensor) -> Tensor:
        """What has been learnt of ``position`` (B,) alone: (B, width); zeros where there is none."""
        told = self.learnt(torch.full_like(position, -1, dtype=torch.int64), position)
        return torch.where(position.isnan()[:, None], 0.0, told)


class EncodedCondition(ConditionEmbedding):
    """e ← 0.8 · rms-normalise(EqualLinear(s)) + 0.2 · e, where the semantic encoding s of the domain is known.

    s is the mean embedding of the slices of a domain, one vector for each: what follows from it is a function of the
    domain. It is a buffer, so that it is averaged, exported and carried on with the weights. Only its direction counts,
    so it may have been averaged with the zeros of those who do not know it.

    Args:
        domains: number of domains K.
        positions: number of learnt positions P.
        width: width of the embedding.
        encoding: width of s.
    Attributes:
        encodings: (K, encoding), zeros where unknown.
    Source: Galati et al. 2024.
    """

    def __init__(self, domains: int, positions: int, width: int, encoding: int) -> None:
        super().__init__(domains, positions, width)
        self.semantic = EqualLinear(encoding, width)
        self.register_buffer("encodings", torch.zeros(domains, encoding))

    @torch.no_grad()
    def with_more_domains(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As of :class:`ConditionEmbedding`; the encodings of new domains are unknown."""
        found, known = super().with_more_domains(tensors), tensors.get("encodings")
        if known is not None and len(known) < self.domains:
            found["encodings"] = torch.cat(
                [known, known.new_zeros(self.domains - len(known), known.shape[1])]
            )
        return found

    def forward(self, domain: Tensor, position: Tensor, encoded: Tensor | None = None) -> Tensor:
        """Arguments as of :class:`ConditionEmbedding`; ``encoded`` (B,): whether s is used, None: where it is known."""
        learnt = self.learnt(domain, position)
        encoding = self.encodings[domain]
        known = (encoding != 0).any(dim=1)
        if encoded is not None:
            known = known & encoded
        informed = rms_normalise(self.semantic(rms_normalise(encoding)))
        return torch.where(known[:, None], 0.8 * informed + 0.2 * learnt, learnt)
