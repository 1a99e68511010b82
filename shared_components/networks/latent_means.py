"""Where the latents w of a domain lie on average, at every height of a volume."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_components.networks.condition import place_of
from shared_components.networks.generator import Generator


@torch.no_grad()
def means_by_position(generator: Generator, samples: int = 1024, seed: int = 0) -> Tensor:
    """Mean of w of every domain at every learnt position: (K, P, w_dim), on the CPU.

    A domain without heights has one mean, at all positions. The same z are behind every mean, so that means of two
    domains differ by what the domains are, not by what was drawn.

    Args:
        generator: the factory's.
        samples: latents behind each mean.
        seed: of the latents.
    """
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    z = z.to(generator.constant.device)
    means = []
    for domain in range(generator.domains):
        number = torch.full((samples,), domain, device=z.device)
        heights = generator.heights(domain, generator.positions).to(z)
        means.append(
            torch.stack([generator.mapping(z, number, at.expand(samples)).mean(0) for at in heights])
        )
    return torch.stack(means).cpu()


def shares_of(heights: Tensor, positions: int) -> Tensor:
    """Shares (N, P) of what stands at the learnt positions at ``heights`` (N,); even ones where there is no height."""
    return torch.where(heights.isnan()[:, None], 1 / positions, place_of(heights, positions))


def mean_at(means: Tensor, domain: Tensor, heights: Tensor) -> Tensor:
    """Means of w (N, w_dim) of ``domain`` (N,) at ``heights`` (N,), from those of :func:`means_by_position`."""
    return (shares_of(heights, means.shape[1])[:, :, None] * means[domain]).sum(dim=1)
