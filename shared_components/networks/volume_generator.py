"""Whole volumes from the slice generator, also in the form that is exported, with the noise in it."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.condition import place_of
from shared_components.networks.generator import Generator, SynthesisOutput
from shared_components.networks.latent_edit import LatentEdit, shares_of
from shared_components.networks.style_layers import ModulatedConv2d, rms_normalise


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
        w_plus = self.generator.w_plus(self._latents(z), domain, heights)
        return w_plus if self.edit is None else self.edit(w_plus, domain, heights)

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


class VolumeDrawer(nn.Module):
    """One latent in, one volume out, as TorchScript or ONNX.

    It draws what :class:`~shared_components.networks.volume_generator.VolumeGenerator` draws, but for the noise, which
    that one seeds by the latent: here all latents share one. In TorchScript the domain and the number of slices can be
    given with each call; in ONNX they are those of the export. A domain without heights gets separate images: their
    latents are z, turned on by one number for every slice.

    Its weights have the generator's names, so that a factory file's fit. What it runs is the generator's forward pass
    in the words that TorchScript knows; convolutions scale activations, since the number of groups, which grows with
    the batch in the other form, is a constant in ONNX.

    Args:
        generator: the factory's; a copy is kept.
        domain: index of the domain that is drawn where none is given.
        slices: number of slices where none is given.
        edit: what is done to the latents; None: nothing.
        noise: False for no per-pixel noise.
        seed: of the noise.
    """

    def __init__(
        self,
        generator: Generator,
        domain: int,
        slices: int,
        edit: LatentEdit | None = None,
        noise: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        kept = copy.deepcopy(generator).requires_grad_(False)
        for name, part in kept.named_children():
            self.add_module(name, part)
        for name, parameter in kept.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in kept.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for module in self.modules():
            if isinstance(module, ModulatedConv2d):
                module.fused = False
        self.edit = LatentEdit(generator) if edit is None else edit
        self.register_load_state_dict_pre_hook(partial(_complete, generator.added_tensors()))
        self.domain, self.slices, self.positions = int(domain), int(slices), generator.positions
        self.image_channels = generator.image_channels  # label maps beside the image are left out
        self.rows, self.common_rows = generator.rows, generator.common_rows
        self.flat = [generator.is_flat(number) for number in range(generator.domains)]
        self.sizes, self.with_noise = generator.noise_sizes, noise
        maps = generator.sample_noise(
            generator.positions if noise else 0, torch.Generator().manual_seed(seed)
        )
        flat = torch.cat([of_layer.flatten(1) for of_layer in maps], dim=1)  # (P, pixels of all layers)
        self.register_buffer("noise", flat.to(generator.constant), persistent=False)

    def forward(self, z: Tensor, domain: int | None = None, slices: int | None = None) -> Tensor:
        """``z`` (B, z_dim), a domain's index and a number of slices to volumes (B, 1, S, S, slices) in [-1, 1]."""
        number = self.domain if domain is None else domain
        count = self.slices if slices is None else slices
        place = torch.arange(count, device=z.device)
        start = torch.zeros_like(place)
        heights = (place + 0.5).to(z.dtype) / count
        if self.flat[number]:
            start = place
            heights = torch.full_like(heights, float("nan"))
        index = (start[:, None] + torch.arange(z.shape[1], device=z.device)) % z.shape[1]
        latents = z[:, index].flatten(0, 1)  # (B · slices, z_dim)
        domains = torch.full([len(latents)], number, dtype=torch.int64, device=z.device)
        images = self.draw(latents, domains, heights.repeat(len(z)))
        return images.unflatten(0, (-1, count)).permute(0, 2, 3, 4, 1)

    def draw(self, z: Tensor, domain: Tensor, heights: Tensor) -> Tensor:
        """``z`` (N, z_dim), ``domain`` (N,), ``heights`` (N,), NaN for none, to slices (N, 1, S, S) in [-1, 1]."""
        w = self.mapping_network(torch.cat([rms_normalise(z), self.condition(domain, heights)], dim=1))
        w_plus = w[:, None].expand(-1, self.rows, -1)
        if self.common_rows:
            common = torch.cat([rms_normalise(z), self.condition.of_no_domain(heights)], dim=1)
            common = self.mapping_network(common)[:, None].expand(-1, self.common_rows, -1)
            w_plus = torch.cat([common, w_plus[:, self.common_rows :]], dim=1)
        w_plus = self.edit(w_plus, domain, heights)
        maps = self.noise_at(heights)
        x = self.constant.expand(len(z), -1, -1, -1)
        features: list[Tensor] = []
        for row, layer in enumerate(self.layers):
            x = layer(x, w_plus[:, row], maps[row] if maps else None)
            if row % 2 == 0:  # the last of its resolution
                features.append(x)
        image: Tensor | None = None
        for level, to_image in enumerate(self.to_image):
            contribution = (
                to_image(features[level], w_plus[:, 2 * level + 1]) + self.image_bias[level, :, None, None]
            )
            image = contribution if image is None else self.upsample(image) + contribution
        return image[:, : self.image_channels].clamp(-1, 1)

    def noise_at(self, heights: Tensor) -> list[Tensor]:
        """Maps (N, 1, h, w) of unit variance, mixed of those at the learnt positions as a volume's are; or none."""
        if not self.with_noise:
            return []
        share = F.normalize(shares_of(heights, self.positions), dim=1)
        pixels = [size * size for size in self.sizes]
        maps = (share @ self.noise).split(pixels, dim=1)
        return [maps[n].view(-1, 1, size, size) for n, size in enumerate(self.sizes)]


def _complete(
    added: Mapping[str, Tensor], module: nn.Module, state: MutableMapping, prefix: str, *_: Any
) -> None:
    """Give weights what files of earlier versions lack, where MONAI's export loads them."""
    for name, tensor in added.items():
        state.setdefault(prefix + name, tensor)
