"""Whole volumes from the slice generator."""

from __future__ import annotations

import zlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.condition import place_of
from shared_components.networks.generator import Generator, SynthesisOutput
from shared_components.networks.latent_edit import LatentEdit


class VolumeGenerator(nn.Module):
    """One latent in, one volume of a domain out.

    For one z the generator is asked for W+ at the height of every slice, so that a volume of any depth scrolls
    smoothly. The noise maps are seeded by z alone, so the same z gives the same volume every time, and twins under
    two domains share it; they are drawn at the learnt positions and mixed in between. A domain that was trained on
    single-slice images alone knows no heights: its volumes are separate images, the first of z, the others of
    latents that z seeds.

    Args:
        generator: the factory's generator.
        domain: index of the domain.
        slices: number of slices of the volume.
        noise: False for no per-pixel noise.
        separate: give every slice a latent of its own also where the domain knows heights, for twins of one that does
            not.
        edit: what is done to the latents, such as truncation; None: nothing.
    Source: Galati et al. 2024, Sec. 2.2 (synthetic source volumes).
    Deviation: heights are interpolated in the condition, with which they were trained, not in W+ between bins.
    """

    def __init__(
        self,
        generator: Generator,
        domain: int,
        slices: int,
        noise: bool = True,
        separate: bool = False,
        edit: LatentEdit | None = None,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.domain = domain
        self.slices = slices
        self.noise = noise
        self.separate = separate or generator.is_flat(domain)
        self.edit = edit

    def w_plus(self, z: Tensor) -> Tensor:
        """``z`` (z_dim,) to W+ of every slice, (slices, rows, w_dim)."""
        heights = self.generator.heights(self.domain, self.slices).to(z)
        domain = torch.full((self.slices,), self.domain, device=z.device)
        w = self.generator.mapping(self._latents(z), domain, heights)
        return self.generator.to_w_plus(w) if self.edit is None else self.edit(w, domain, heights)

    def _latents(self, z: Tensor) -> Tensor:
        if not self.separate:
            return z.expand(self.slices, -1)
        others = torch.randn(self.slices - 1, len(z), generator=_seeded_by(z, offset=1))
        return torch.cat([z[None], others.to(z)])

    def _one(self, z: Tensor) -> SynthesisOutput:
        noise = self._noise(_seeded_by(z)) if self.noise else "none"
        return self.generator.synthesis(self.w_plus(z), noise)

    def _noise(self, random: torch.Generator) -> list[Tensor]:
        """Noise maps (slices, 1, h, w) of unit variance, one per layer."""
        if self.separate:
            return self.generator.sample_noise(self.slices, random)
        positions = self.generator.positions
        share = F.normalize(place_of(self.generator.heights(self.domain, self.slices), positions), dim=1)
        maps = self.generator.sample_noise(positions, random)
        return [(share @ noise.flatten(1)).view(-1, *noise.shape[1:]) for noise in maps]

    def forward(self, z: Tensor) -> Tensor:
        """``z`` (B, z_dim) to volumes (B, 1, S, S, slices) in [-1, 1]."""
        return torch.stack([_stacked(self._one(latent).image.clamp(-1, 1)) for latent in z])

    def labelled(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``z`` (z_dim,) to a volume (1, S, S, slices) in [-1, 1] and its label map (S, S, slices), uint8.

        Raises:
            InputError: the factory draws no label maps.
        """
        if not self.generator.classes:
            raise InputError(
                "the factory draws no label maps; train it with label_domains, or let a source model label"
            )
        drawn = self._one(z)
        return _stacked(drawn.image.clamp(-1, 1)), _stacked(drawn.labels.argmax(1)).to(torch.uint8)


def _stacked(slices: Tensor) -> Tensor:
    """Slices (D, ...) to a volume (..., D)."""
    return slices.movedim(0, -1)


def _seeded_by(z: Tensor, offset: int = 0) -> torch.Generator:
    """A random generator that is the same for the same latent and offset."""
    return torch.Generator().manual_seed(zlib.crc32(z.detach().cpu().float().numpy().tobytes()) + offset)


def sample_latents(count: int, z_dim: int, seed: int) -> list[Tensor]:
    """``count`` standard normal latents (z_dim,), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, z_dim, generator=generator))
