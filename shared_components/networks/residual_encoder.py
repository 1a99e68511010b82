"""Residual encoder of slices into W+ and content maps, with domain-specific batch norm (method §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.domain_norm import (
    DomainBatchNorm2d,
    DomainGroup,
    DomainLabel,
    KnownGroups,
    group_by_domain,
)
from shared_components.networks.style_layers import EqualLinear, rms_normalise

POOLED = 3  # px: every stage is pooled to 3×3 before the linear layers
STAGES = 4


class Encoding(NamedTuple):
    """w_plus: (B, rows, w_dim). content: four maps, finest first, (B, C_i, S / 2^(i+1), S / 2^(i+1))."""

    w_plus: Tensor
    content: tuple[Tensor, ...]


class ResidualBlock(nn.Module):
    """Norm, 3×3 convolution, PReLU, 3×3 (strided) convolution, norm, beside a shortcut ("improved residual").

    (B, C, H, W) to (B, C', H / stride, W / stride).
    Source: Deng et al. 2019 (ArcFace), Sec. 3.1, residual unit of He et al. 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, domains: int, **norm) -> None:
        super().__init__()
        self.norm_in = DomainBatchNorm2d(in_channels, domains, **norm)
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.activation = nn.PReLU(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm_out = DomainBatchNorm2d(out_channels, domains, **norm)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.shortcut_norm = DomainBatchNorm2d(out_channels, domains, **norm)

    def forward(self, x: Tensor, groups: tuple[DomainGroup, ...]) -> Tensor:
        main = self.activation(self.first(self.norm_in(x, groups)))
        main = self.norm_out(self.second(main), groups)
        skip = x if self.shortcut is None else self.shortcut_norm(self.shortcut(x), groups)
        return main + skip


class ResidualEncoder(nn.Module):
    """Encode a slice into the factory's W+ and into content maps.

    w_plus[row] = Linear_row(pooled stages) ⊙ rms(embedding[domain]) + latent mean[domain].

    Args:
        rows: rows of W+.
        latent_means: (K, w_dim), mean of w of each domain, or (K, rows, w_dim), that of W+; fixes the number of
            domains K.
        widths: channels of the four stages (published: 64, 128, 256, 512).
        blocks: residual blocks per stage (published: 3, 4, 14, 3).
        in_channels: channels of the image.
        batch_statistics: see :class:`DomainBatchNorm2d`.
        momentum: see :class:`DomainBatchNorm2d`.
    Raises:
        InputError: ``widths`` or ``blocks`` do not name four stages.
    Source: Galati et al., MultiVesSeg; W+ encoder after Richardson et al. 2021.
    Deviation: any number of domains (the published label embedding has two); it starts at ones, so that
    before training a slice has the same offset from the mean in every domain.
    """

    def __init__(
        self,
        rows: int,
        latent_means: Tensor,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1, 1),
        in_channels: int = 1,
        batch_statistics: bool = False,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if len(widths) != STAGES or len(blocks) != STAGES:
            raise InputError(
                f"encoder_widths and encoder_blocks: expected {STAGES} numbers each, one for each stage, found "
                f"{list(widths)} and {list(blocks)}; give {STAGES} of both"
            )
        domains, *_, w_dim = latent_means.shape
        norm = {"domains": domains, "batch_statistics": batch_statistics, "momentum": momentum}
        self.rows, self.w_dim, self.widths = rows, w_dim, tuple(widths)
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.stem_norm = DomainBatchNorm2d(widths[0], **norm)
        self.stem_activation = nn.PReLU(widths[0])
        self.stages = nn.ModuleList()
        previous = widths[0]
        for width, depth in zip(widths, blocks, strict=True):
            inputs, strides = [previous] + [width] * (depth - 1), [2] + [1] * (depth - 1)
            pairs = zip(inputs, strides, strict=True)
            self.stages.append(nn.ModuleList([ResidualBlock(i, width, s, **norm) for i, s in pairs]))
            previous = width
        self.to_rows = EqualLinear(sum(widths) * POOLED**2, rows * w_dim)  # one linear layer per row, stacked
        # training starts at the latent mean, where the generator draws well
        nn.init.zeros_(self.to_rows.weight)
        self.embedding = nn.Parameter(torch.ones(domains, w_dim))
        self.register_buffer("latent_means", latent_means.detach().clone())

    @staticmethod
    def content_sizes(image_size: int) -> tuple[int, ...]:
        """Sizes of the content maps in px, finest first."""
        sizes = [image_size]
        for _ in range(STAGES):
            sizes.append((sizes[-1] + 1) // 2)
        return tuple(sizes[1:])

    def encode_content(self, image: Tensor, domain: DomainLabel) -> tuple[Tensor, ...]:
        """Content maps of ``image`` (B, C, S, S), whose own domain is ``domain``; finest first."""
        groups = group_by_domain(domain)
        x = self.stem_activation(self.stem_norm(self.stem(image), groups))
        content = []
        for stage in self.stages:
            for block in stage:
                x = block(x, groups)
            content.append(x)
        return tuple(content)

    def to_w_plus(self, content: tuple[Tensor, ...], to_domain: DomainLabel) -> Tensor:
        """W+ (B, rows, w_dim) that decodes ``content`` into the look of ``to_domain``."""
        pooled = torch.cat([F.adaptive_avg_pool2d(c, POOLED).flatten(1) for c in content], dim=1)
        offset = self.to_rows(pooled).unflatten(1, (self.rows, self.w_dim))
        to_domain = to_domain.domain if isinstance(to_domain, KnownGroups) else to_domain
        scale = rms_normalise(self.embedding[to_domain])[..., None, :]  # (B | -, 1, w_dim)
        means = self.latent_means if self.latent_means.dim() == 3 else self.latent_means[:, None]
        return offset * scale + means[to_domain]

    def forward(self, image: Tensor, domain: DomainLabel, to_domain: DomainLabel | None = None) -> Encoding:
        """Encode ``image`` of ``domain`` for decoding as ``to_domain`` (None: its own)."""
        content = self.encode_content(image, domain)
        return Encoding(self.to_w_plus(content, domain if to_domain is None else to_domain), content)

    @torch.no_grad()
    def copy_domain(self, source: int, target: int) -> None:
        """Start the norms and the embedding of ``target`` from those of ``source``."""
        self.embedding[target] = self.embedding[source]
        for module in self.modules():
            if isinstance(module, DomainBatchNorm2d):
                module.copy_domain(source, target)
