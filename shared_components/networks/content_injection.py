"""Gated recurrent skips that bring the encoder's content into the generator's features (method §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError


class GatedContent(NamedTuple):
    """content: f of one resolution. mask: m in [0, 1). Both (B, C, h, w) with the generator's C."""

    content: Tensor
    mask: Tensor


class ContentGate(nn.Module):
    r"""One step of the recurrence, from a state and this resolution's content c.

    :math:`r = \sigma(\mathrm{conv}[s, c])`, :math:`m = \tanh(\mathrm{relu}(\mathrm{conv}[s, c]))`,
    :math:`f = \mathrm{conv}[r \odot s, c] \odot m`; f is the next state.
    """

    def __init__(self, state_channels: int, content_channels: int, channels: int) -> None:
        super().__init__()
        self.state = nn.Conv2d(state_channels, channels, 1)
        both = channels + content_channels
        self.reset = nn.Conv2d(both, channels, 3, padding=1)
        self.mask = nn.Conv2d(both, channels, 3, padding=1)
        self.update = nn.Conv2d(both, channels, 3, padding=1)

    def forward(self, state: Tensor, content: Tensor) -> GatedContent:
        """``state`` (B, C_s, any, any) and ``content`` (B, C_c, h, w) to f and m, (B, C, h, w)."""
        state = self.state(resized(state, content.shape[-1]))
        both = torch.cat([state, content], dim=1)
        reset = torch.sigmoid(self.reset(both))
        mask = torch.tanh(F.relu(self.mask(both)))
        return GatedContent(self.update(torch.cat([reset * state, content], dim=1)) * mask, mask)


def resized(x: Tensor, size: int) -> Tensor:
    """Bilinear resize of (B, C, H, W) to (B, C, size, size); unchanged when it already fits."""
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


class InjectedContent:
    """Callable ``(level, g) -> g`` for ``Generator.synthesis(inject=...)``: g ← α·f + (1 − α)·g·(1 − m)."""

    def __init__(self, gated: Mapping[int, GatedContent], alpha: Tensor | float) -> None:
        self.gated, self.alpha = gated, alpha

    def __call__(self, level: int, features: Tensor) -> Tensor:
        if level not in self.gated:
            return features
        content, mask = self.gated[level]
        return self.alpha * content + (1 - self.alpha) * features * (1 - mask)


class ContentInjection(nn.Module):
    """Content for chosen resolutions of the generator, faded in over the first updates.

    Args:
        sizes: resolutions of the generator in px, coarsest first.
        channels: the generator's widths per resolution.
        content_sizes: sizes of the encoder's content maps in px, finest first.
        content_channels: their channels.
        resolutions: where to inject, in px (published: 32, 64, 128, 256); None takes the second coarsest
            alone: finer content carries the image's own look past the generator.
        ramp_updates: updates until α reaches 1 (published: 10 000); 0 starts at 1.
    Raises:
        InputError: a resolution that the generator does not have.
    Deviation: the default injects at one coarse resolution only, not at all from 32 px up.
    """

    updates: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        channels: Sequence[int],
        content_sizes: Sequence[int],
        content_channels: Sequence[int],
        resolutions: Sequence[int] | None = None,
        ramp_updates: int = 10_000,
    ) -> None:
        super().__init__()
        wanted = sorted(resolutions) if resolutions is not None else [sizes[1]]
        if unknown := [r for r in wanted if r not in sizes]:
            raise InputError(
                f"injection_resolutions: expected some of the generator's resolutions {list(sizes)} px, found "
                f"{unknown}; choose among those"
            )
        self.levels = [list(sizes).index(r) for r in wanted]
        self.sizes, self.ramp_updates = tuple(sizes), ramp_updates
        self.sources = [nearest_size(content_sizes, r) for r in wanted]
        self.gates = nn.ModuleList()
        state = content_channels[-1]
        for level, source in zip(self.levels, self.sources, strict=True):
            self.gates.append(ContentGate(state, content_channels[source], channels[level]))
            state = channels[level]
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def alpha(self) -> Tensor:
        """min(1, updates / ramp_updates), a scalar tensor."""
        if self.ramp_updates == 0:
            return torch.ones_like(self.updates, dtype=torch.float32)
        return (self.updates / self.ramp_updates).clamp(max=1.0)

    def advance(self) -> None:
        """Count one update."""
        self.updates += 1

    def forward(self, content: tuple[Tensor, ...]) -> InjectedContent:
        """Content maps of the encoder, finest first, to what ``synthesis`` calls."""
        state, gated = content[-1], {}  # the deepest map is the first state
        for gate, level, source in zip(self.gates, self.levels, self.sources, strict=True):
            gated[level] = gate(state, resized(content[source], self.sizes[level]))
            state = gated[level].content
        return InjectedContent(gated, self.alpha)


def nearest_size(sizes: Sequence[int], wanted: int) -> int:
    """Index of the size with the smallest ratio to ``wanted``; the finer one at a tie."""
    return min(range(len(sizes)), key=lambda i: max(sizes[i], wanted) / min(sizes[i], wanted))
