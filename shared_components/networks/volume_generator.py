"""Whole volumes from the slice generator: interpolation in W+ between slice positions."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn

from shared_components.networks.generator import Generator


class VolumeGenerator(nn.Module):
    """One latent in, one volume of a domain out.

    For one z the generator's W+ is computed at every slice position 0..P-1; a slice at relative height h takes
    the linear interpolation of the two positions beside it. The noise maps are seeded by z alone, so the same z
    gives the same volume every time, and twins under two domains share it.

    Args:
        generator: the factory's generator.
        domain: index of the domain.
        slices: number of slices of the volume.
        noise: False for no per-pixel noise.
    Source: Galati et al. 2024, Sec. 2.2 (synthetic source volumes).
    """

    def __init__(self, generator: Generator, domain: int, slices: int, noise: bool = True) -> None:
        super().__init__()
        self.generator = generator
        self.domain = domain
        self.slices = slices
        self.noise = noise

    def w_plus(self, z: Tensor) -> Tensor:
        """``z`` (z_dim,) to W+ of every slice, (slices, rows, w_dim)."""
        positions = self.generator.positions
        index = torch.arange(positions, device=z.device)
        w = self.generator.mapping(z.expand(positions, -1), torch.full_like(index, self.domain), index)
        # bin p covers relative heights [p/P, (p+1)/P): its centre lies at (p + 0.5) / P
        height = (torch.arange(self.slices, device=z.device) + 0.5) / self.slices * positions - 0.5
        height = height.clamp(0, positions - 1)
        low = height.floor().long().clamp(max=max(positions - 2, 0))
        high = (low + 1).clamp(max=positions - 1)
        return self.generator.to_w_plus(torch.lerp(w[low], w[high], (height - low)[:, None].to(w)))

    def _one(self, z: Tensor) -> Tensor:
        noise = "none"
        if self.noise:
            seed = zlib.crc32(z.detach().cpu().float().numpy().tobytes())
            noise = self.generator.sample_noise(self.slices, torch.Generator().manual_seed(seed))
        image = self.generator.synthesis(self.w_plus(z), noise).image  # (slices, 1, S, S)
        return image.clamp(-1, 1).movedim(0, -1)

    def forward(self, z: Tensor) -> Tensor:
        """``z`` (B, z_dim) to volumes (B, 1, S, S, slices) in [-1, 1]."""
        return torch.stack([self._one(latent) for latent in z])


def sample_latents(count: int, z_dim: int, seed: int) -> list[Tensor]:
    """``count`` standard normal latents (z_dim,), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, z_dim, generator=generator))
