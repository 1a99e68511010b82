"""What is done to the latents between mapping and drawing: truncation, and a step along a direction.

Where the latents of a domain lie on average, and which directions change the picture most, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.condition import place_of
from shared_components.networks.generator import Generator


class LatentEdit(nn.Module):
    r"""W+ of slices: :math:`\bar w + \psi (w - \bar w)` in every row, plus a step in some of them.

    The mean is that of the slice's domain at its height, so that a truncated volume still scrolls through the anatomy,
    and twins still share theirs.

    Args:
        generator: the factory's; it stays outside this module.
        truncation: ψ; 1: none, 0: every latent gives the mean volume.
        direction: number of a semantic direction, 0 the strongest; None: none.
        strength: of the step, in multiples of how far w lies from its mean (root mean square).
        rows: first and last row of W+ that the step is made in, and whose layers name the directions; None: all.
    Raises:
        InputError: a direction or rows that the generator does not have, or a strength without a direction.
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
        if strength and direction is None:
            raise InputError(
                f"strength: expected the direction that goes with {strength}, found none; name it with direction"
            )
        self.rows = generator.rows
        self.truncation = float(truncation)
        means = means_by_position(generator) if truncation != 1 else torch.zeros(1, 1, 1, 1)
        _checked_rows(generator, rows)
        step = torch.zeros(generator.rows, generator.w_dim)
        if direction is not None:
            vector = _vector(generator, direction, rows)
            step = step_along(generator, vector, strength * typical_distance(generator), rows)
        # no part of a factory's weights, from which they follow
        self.register_buffer("means", means.to(generator.constant), persistent=False)
        self.register_buffer("step", step.to(generator.constant), persistent=False)

    def forward(self, w_plus: Tensor, domain: Tensor, heights: Tensor) -> Tensor:
        """``w_plus`` (N, rows, w_dim) of slices of ``domain`` (N,) at ``heights`` (N,) to W+ of the same shape."""
        if self.truncation != 1:
            w_plus = torch.lerp(mean_at(self.means, domain, heights), w_plus, self.truncation)
        return w_plus + self.step


def step_along(
    generator: Generator, vector: Tensor, length: float, rows: Sequence[int] | None = None
) -> Tensor:
    """A step of W+ (rows, w_dim), ``length`` long in the given rows, none in the others; arguments as above."""
    first, last = _checked_rows(generator, rows)
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


class Directions(NamedTuple):
    """Unit vectors (n, w_dim), the strongest first, and the share of each in what all directions change, (n,)."""

    vectors: Tensor
    shares: Tensor


@torch.no_grad()
def semantic_directions(generator: Generator, rows: Sequence[int] | None = None) -> Directions:
    r"""All w_dim directions n, by how much they change the styles: eigenvectors of :math:`A^\top A`.

    A is the stack of the style layers' weights, as they act. No image and no label is needed; what a direction means
    shows when it is drawn. Signs are chosen so that each vector's largest number is positive.

    Args:
        generator: the factory's.
        rows: first and last row of W+ whose layers count; None: all. Coarse rows shape anatomy, fine rows the look.
    Returns:
        Directions on the CPU.
    Raises:
        InputError: rows that W+ does not have.
    Source: Shen & Zhou 2021, Eq. 7 (SeFa).
    """
    first, last = _checked_rows(generator, rows)
    weights = [weight for row in range(first, last + 1) for weight in style_weights(generator, row)]
    stacked = torch.cat(weights).cpu().double()
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    vectors = vectors.T.flip(0)
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    shares = values.flip(0).clamp_min(0)
    return Directions((vectors * largest.sign()).float(), (shares / shares.sum()).float())


def style_weights(generator: Generator, row: int) -> list[Tensor]:
    """Weights (C_in, w_dim) that turn a row of W+ into styles: its 3×3 layer's, if any, and its to-image layer's."""
    layers = [layer.convolution for layer in generator.layers][row : row + 1]
    layers += list(generator.to_image)[row // 2 : row // 2 + 1] if row % 2 else []
    return [layer.affine.weight * layer.affine.scale for layer in layers]


def _checked_rows(generator: Generator, rows: Sequence[int] | None) -> tuple[int, int]:
    """First and last row; all of W+ for None.

    Raises:
        InputError: rows that W+ does not have.
    """
    first, last = (0, generator.rows - 1) if rows is None else rows
    if not 0 <= first <= last < generator.rows:
        raise InputError(
            f"direction_rows: expected [first, last] within the factory's rows 0 to {generator.rows - 1}, "
            f"found {list(rows)}"
        )
    return first, last


@torch.no_grad()
def means_by_position(generator: Generator, samples: int = 1024, seed: int = 0) -> Tensor:
    """Mean of W+ of every domain at every learnt position: (K, P, rows, w_dim), on the CPU.

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
        means.append(torch.stack([generator.w_plus(z, number, at.expand(samples)).mean(0) for at in heights]))
    return torch.stack(means).cpu()


def shares_of(heights: Tensor, positions: int) -> Tensor:
    """Shares (N, P) of what stands at the learnt positions at ``heights`` (N,); even ones where there is no height."""
    return torch.where(heights.isnan()[:, None], 1 / positions, place_of(heights, positions))


def mean_at(means: Tensor, domain: Tensor, heights: Tensor) -> Tensor:
    """Means (N, rows, w_dim) of ``domain`` (N,) at ``heights`` (N,), from those of :func:`means_by_position`."""
    return (shares_of(heights, means.shape[1])[:, :, None, None] * means[domain]).sum(dim=1)
