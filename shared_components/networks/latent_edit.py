"""What is done to the latents between mapping and drawing: truncation, and a step along a direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.networks.latent_means import mean_at, means_by_position
from shared_components.networks.semantic_directions import checked_rows, semantic_directions


class LatentEdit(nn.Module):
    r"""w of slices to their W+: :math:`\bar w + \psi (w - \bar w)` in every row, plus a step in some of them.

    The mean is that of the slice's domain at its height, so that a truncated volume still scrolls through the anatomy,
    and twins still share theirs.

    Args:
        generator: the factory's; it stays outside this module.
        truncation: ψ; 1: none, 0: every latent gives the mean volume.
        direction: number of a semantic direction, 0 the strongest; None: none.
        strength: of the step, in multiples of how far w lies from its mean (root mean square).
        rows: first and last row of W+ that the step is made in, and whose layers name the directions; None: all.
    Raises:
        InputError: a direction or rows that the generator does not have.
    Source: Karras et al. 2019, Sec. 5 and App. B (truncation); Shen & Zhou 2021 (directions).
    """

    def __init__(
        self,
        generator: Generator,
        truncation: float = 1.0,
        direction: int | None = None,
        strength: float = 0.0,
        rows: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.rows = generator.rows
        self.truncation = float(truncation)
        means = means_by_position(generator) if truncation != 1 else torch.zeros(1, 1, 1)
        checked_rows(generator, rows)
        step = torch.zeros(generator.rows, generator.w_dim)
        if direction is not None:
            vector = _vector(generator, direction, rows)
            step = step_along(generator, vector, strength * typical_distance(generator), rows)
        # no part of a factory's weights, from which they follow
        self.register_buffer("means", means.to(generator.constant), persistent=False)
        self.register_buffer("step", step.to(generator.constant), persistent=False)

    def forward(self, w: Tensor, domain: Tensor, heights: Tensor) -> Tensor:
        """``w`` (N, w_dim) of slices of ``domain`` (N,) at ``heights`` (N,) to W+ (N, rows, w_dim)."""
        if self.truncation != 1:
            w = torch.lerp(mean_at(self.means, domain, heights), w, self.truncation)
        return w[:, None] + self.step


def step_along(
    generator: Generator, vector: Tensor, length: float, rows: Sequence[int] | None = None
) -> Tensor:
    """A step of W+ (rows, w_dim), ``length`` long in the given rows, none in the others; arguments as above."""
    first, last = checked_rows(generator, rows)
    step = torch.zeros(generator.rows, generator.w_dim)
    step[first : last + 1] = length * vector
    return step


@torch.no_grad()
def typical_distance(generator: Generator, samples: int = 256, seed: int = 0) -> float:
    """Root mean square distance of w from its mean, over latents and learnt positions of all domains."""
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    z = z.to(generator.constant.device)
    squares = []
    for domain in range(generator.domains):
        number = torch.full((samples,), domain, device=z.device)
        for height in generator.heights(domain, generator.positions).to(z):
            w = generator.mapping(z, number, height.expand(samples))
            squares.append((w - w.mean(0)).square().sum(1).mean())
    return float(torch.stack(squares).mean().sqrt())


def _vector(generator: Generator, direction: int, rows: Sequence[int] | None) -> Tensor:
    if not 0 <= direction < generator.w_dim:
        raise InputError(f"direction: expected one of 0 to {generator.w_dim - 1}, or null, found {direction}")
    return semantic_directions(generator, rows).vectors[direction]
