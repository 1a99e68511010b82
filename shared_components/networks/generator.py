"""Conditional style-based generator of slices (method §1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.condition import ConditionEmbedding, EncodedCondition
from shared_components.networks.style_layers import (
    EqualLinear,
    FirUpsample,
    ModulatedConv2d,
    StyledLayer,
    resolutions,
    rms_normalise,
)

Noise = str | Sequence[Tensor]
Inject = Callable[[int, Tensor], Tensor]


class SynthesisOutput(NamedTuple):
    """What the synthesis network returns.

    image: (B, image_channels, S, S), about [-1, 1]. features: the last features of each resolution,
    coarsest first, (B, C_l, h_l, w_l). labels: scores of the classes (B, classes, S, S), None without classes.
    """

    image: Tensor
    features: tuple[Tensor, ...]
    labels: Tensor | None = None


class Generator(nn.Module):
    """Draws slices of a domain at a position of the volume.

    W+ has two rows per resolution, ``2 * len(channels)``: one for each 3×3 layer (the first resolution has a
    single one) and the row after for the to-image layer. Coarse rows shape the anatomy, fine ones the look: the first
    ``common_rows`` can be kept from being told the domain, so that twins share what these rows draw whatever the
    training makes of it.

    Args:
        size: height and width of a slice in px.
        domains: number of domains K of the federation.
        positions: number P of learnt positions along a volume, interpolated between.
        channels: widths per resolution, coarsest first; their number fixes the number of resolutions.
        z_dim: width of the latent z.
        w_dim: width of w and of the condition's embedding.
        mapping_layers: depth of the mapping network.
        mapping_lr: learning-rate multiplier of the mapping network.
        image_channels: channels of the image.
        classes: number of classes of the label map that is drawn beside the image; 0: none is.
        encoding: width of the semantic encoding that the condition takes; 0: it takes none.
        common_rows: rows of W+, the coarsest first, that are told the height alone; 0: all are told the domain.
    Raises:
        InputError: the size does not fit the number of resolutions, or no row is left that is told the domain.
    Source: Karras et al. 2020; condition: Galati et al. 2024, Sec. 2.1.
    Deviation: the coarsest resolution may be 3 px or more (48 = 3·2⁴), not 4 only; ``common_rows``.
    """

    def __init__(
        self,
        size: int,
        domains: int,
        positions: int,
        channels: Sequence[int],
        *,
        z_dim: int,
        w_dim: int,
        mapping_layers: int,
        mapping_lr: float,
        image_channels: int = 1,
        classes: int = 0,
        encoding: int = 0,
        common_rows: int = 0,
    ) -> None:
        super().__init__()
        self.arguments = {
            "size": int(size),
            "domains": int(domains),
            "positions": int(positions),
            "channels": [int(c) for c in channels],
            "z_dim": int(z_dim),
            "w_dim": int(w_dim),
            "mapping_layers": int(mapping_layers),
            "mapping_lr": float(mapping_lr),
            "image_channels": int(image_channels),
            "classes": int(classes),
            "encoding": int(encoding),
            "common_rows": int(common_rows),
        }
        self.sizes = resolutions(size, len(channels))
        self.channels = tuple(channels)
        self.domains, self.positions = domains, positions
        self.z_dim, self.w_dim = z_dim, w_dim
        self.image_channels, self.classes = image_channels, classes
        self.rows, self.common_rows = 2 * len(channels), int(common_rows)
        if not 0 <= common_rows < self.rows:
            raise InputError(
                f"common_rows: expected 0 to {self.rows - 1}, less than W+ has rows, found {common_rows}"
            )
        shape = (domains, positions, w_dim)
        self.condition = EncodedCondition(*shape, encoding) if encoding else ConditionEmbedding(*shape)
        widths = [z_dim + w_dim] + [w_dim] * mapping_layers
        self.mapping_network = nn.Sequential(
            *(
                EqualLinear(widths[i], widths[i + 1], lr_multiplier=mapping_lr, activate=True)
                for i in range(mapping_layers)
            )
        )
        self.constant = nn.Parameter(torch.randn(1, channels[0], self.sizes[0], self.sizes[0]))
        self.layers = nn.ModuleList([StyledLayer(channels[0], channels[0], w_dim)])
        for low, high in itertools.pairwise(channels):
            self.layers.append(StyledLayer(low, high, w_dim, upsample=True))
            self.layers.append(StyledLayer(high, high, w_dim))
        self.to_image = nn.ModuleList(
            [ModulatedConv2d(c, image_channels + classes, 1, w_dim, demodulate=False) for c in channels]
        )
        self.upsample = FirUpsample()
        self.image_bias = nn.Parameter(torch.zeros(len(channels), image_channels + classes))
        # an integer buffer: a federation keeps the furthest client's, so that all grow together
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        # whether domain k has been trained on slices without a height, and on slices with one; a switch, which
        # whichever client turns it on turns on for all
        self.register_buffer("slices_seen", torch.zeros(domains, 2, dtype=torch.bool))

    def rated_parameters(
        self, noise_rate: float, condition_rate: float = 1.0
    ) -> dict[float, list[nn.Parameter]]:
        """Factors of the learning rate, each with its parameters.

        Args:
            noise_rate: for the strengths of the noise.
            condition_rate: for the weight of the condition's embedding.
        """
        rates = {id(layer.noise_strength): float(noise_rate) for layer in self.layers}
        rates[id(self.condition.linear.weight)] = float(condition_rate)
        found: dict[float, list[nn.Parameter]] = {}
        for parameter in self.parameters():
            found.setdefault(rates.get(id(parameter), 1.0), []).append(parameter)
        return found

    def added_tensors(self) -> dict[str, Tensor]:
        """What files of earlier versions lack, with the values it then has."""
        return {"slices_seen": torch.zeros_like(self.slices_seen)}

    def with_more_domains(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What has changed in ``tensors`` of a generator of fewer domains; nobody has trained the new ones."""
        seen = tensors.get("slices_seen")
        if seen is None or len(seen) >= self.domains:
            return {}
        return {"slices_seen": torch.cat([seen, seen.new_zeros(self.domains - len(seen), 2)])}

    @torch.no_grad()
    def remember(self, domain: Tensor, position: Tensor) -> None:
        """Count an update, and which domains were trained with and without heights; arguments as in :meth:`mapping`."""
        self.updates += 1
        self.slices_seen.index_put_(
            (domain, (~position.isnan()).long()), torch.ones_like(domain, dtype=torch.bool)
        )

    def is_flat(self, domain: int) -> bool:
        """Whether a domain was trained on single-slice images alone, so that it knows no heights."""
        without, within = self.slices_seen[domain].tolist()
        return without and not within

    def heights(self, domain: int, slices: int) -> Tensor:
        """Heights (slices,) of the slices of a whole volume of a domain: all trained, or NaN where it knows none."""
        if self.is_flat(domain):
            return torch.full((slices,), torch.nan)
        return (torch.arange(slices) + 0.5) / slices

    def mapping(self, z: Tensor, domain: Tensor, position: Tensor, encoded: Tensor | None = None) -> Tensor:
        """``z`` (B, z_dim), ``domain`` (B,), ``position`` (B,) to w (B, w_dim).

        ``encoded`` (B,): whether the domain's semantic encoding is used; None: wherever there is one.
        """
        condition = (domain, position) if encoded is None else (domain, position, encoded)
        return self._mapped(z, self.condition(*condition))

    def w_plus(self, z: Tensor, domain: Tensor, position: Tensor, encoded: Tensor | None = None) -> Tensor:
        """W+ (B, rows, w_dim): w in every row, but for the common ones, where no domain is told; arguments as of
        :meth:`mapping`.
        """
        w = self.mapping(z, domain, position, encoded)[:, None].expand(-1, self.rows, -1)
        if not self.common_rows:
            return w
        common = self._mapped(z, self.condition.of_no_domain(position))[:, None]
        return torch.cat([common.expand(-1, self.common_rows, -1), w[:, self.common_rows :]], dim=1)

    def _mapped(self, z: Tensor, condition: Tensor) -> Tensor:
        return self.mapping_network(torch.cat([rms_normalise(z), condition], dim=1))

    @property
    def noise_sizes(self) -> list[int]:
        """Height and width of the noise map of each 3×3 layer, px."""
        return [self.sizes[(layer + 1) // 2] for layer in range(len(self.layers))]

    def sample_noise(self, batch: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Noise maps (B, 1, h, w) on the CPU, one per 3×3 layer, for ``synthesis(noise=...)``.

        The same maps under two domains give twins that share fine detail as well as anatomy.
        """
        return [torch.randn(batch, 1, size, size, generator=generator) for size in self.noise_sizes]

    def synthesis(
        self,
        w_plus: Tensor,
        noise: Noise = "random",
        inject: Inject | None = None,
        level: int | None = None,
        fade: float = 1.0,
    ) -> SynthesisOutput:
        """Decode W+ to an image.

        Args:
            w_plus: (B, rows, w_dim).
            noise: "random", "none", or the maps of :meth:`sample_noise`.
            inject: called as ``inject(level, features)`` after each resolution; its result goes on.
            level: stop at this resolution (0: the coarsest); None: the finest. For progressive training.
            fade: weight of the last resolution's contribution to the image.
        Raises:
            ValueError: W+ of another shape, or an unknown noise mode.
        """
        if w_plus.shape[1:] != (self.rows, self.w_dim):
            raise ValueError(f"w_plus: expected (B, {self.rows}, {self.w_dim}), found {tuple(w_plus.shape)}")
        maps = self._noise_maps(noise, w_plus)
        x = self.constant.expand(w_plus.shape[0], -1, -1, -1)
        image: Tensor | None = None
        features = []
        layer = 0
        last = len(self.sizes) - 1 if level is None else level
        for current in range(last + 1):
            for _ in range(1 if current == 0 else 2):
                x = self.layers[layer](x, w_plus[:, layer], maps[layer])
                layer += 1
            if inject is not None:
                x = inject(current, x)
            features.append(x)
            contribution = (
                self.to_image[current](x, w_plus[:, layer]) + self.image_bias[current][:, None, None]
            )
            if current == last and fade < 1.0:
                contribution = contribution * fade
            image = contribution if image is None else self.upsample(image) + contribution
        labels = image[:, self.image_channels :] if self.classes else None
        return SynthesisOutput(image[:, : self.image_channels], tuple(features), labels)

    def _noise_maps(self, noise: Noise, like: Tensor) -> Sequence[Tensor | None]:
        if not isinstance(noise, str):
            return [m.to(like) for m in noise]
        if noise == "none":
            return [None] * len(self.layers)
        if noise != "random":
            raise ValueError(f"noise: expected 'random', 'none' or a sequence of maps, found {noise!r}")
        return [like.new_empty(like.shape[0], 1, size, size).normal_() for size in self.noise_sizes]

    def forward(self, z: Tensor, domain: Tensor, position: Tensor, noise: Noise = "random") -> Tensor:
        """``z`` (B, z_dim), ``domain`` (B,), ``position`` (B,) to images (B, image_channels, S, S)."""
        return self.synthesis(self.w_plus(z, domain, position), noise).image

    @torch.no_grad()
    def latent_mean(
        self, domain: int, samples: int = 1024, generator: torch.Generator | None = None
    ) -> Tensor:
        """Mean of W+ over ``samples`` z and the central half of the heights: (rows, w_dim)."""
        device = self.constant.device
        z = torch.randn(samples, self.z_dim, generator=generator).to(device)
        position = (0.25 + self.heights(domain, samples) / 2).to(device)
        return self.w_plus(z, torch.full((samples,), domain, device=device), position).mean(dim=0)
