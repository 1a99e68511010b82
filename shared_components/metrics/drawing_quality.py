"""How well a generator draws, without any downloaded network.

How far generated slices are from real ones, which of the real ones they cover, how evenly they change along paths
between latents, and how smoothly a stack of them scrolls.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.metrics.memorisation import nearest
from shared_components.networks.generator import Generator
from shared_components.networks.image_encoder import RandomFeatures

BATCH = 32


@torch.no_grad()
def feature_distance(real: Tensor, generated: Tensor, seed: int = 0, batch_size: int = 64) -> float:
    r"""Fréchet distance between the features of two sets of slices.

    .. math:: \lVert\mu_1-\mu_2\rVert^2 + \mathrm{tr}(\Sigma_1) + \mathrm{tr}(\Sigma_2)
        - 2\,\mathrm{tr}\,(\Sigma_1\Sigma_2)^{1/2}

    A relative measure: compare it between generators for the same ``real`` set and the same number of slices,
    and with its floor, the distance between two sets of real slices. It is no Fréchet Inception distance.
    Features are divided by their spread over ``real``, so that each weighs the same.

    Args:
        real: ``(N, 1, H, W)`` in [-1, 1], N >= 2.
        generated: ``(M, 1, H, W)`` of the same H and W, M >= 2.
        seed: of the random features.
        batch_size: slices at a time.
    Raises:
        InputError: fewer than two slices, or slices of another shape.
    Source: Heusel et al. 2017, with random features in place of Inception's.
    """
    if min(len(real), len(generated)) < 2 or real.shape[1:] != generated.shape[1:] or real.dim() != 4:
        raise InputError(
            "feature distance: expected two sets of at least two slices (N, 1, H, W) of the same size, "
            f"found {tuple(real.shape)} and {tuple(generated.shape)}"
        )
    first, second = (
        random_features(images, seed, batch_size) for images in (real, generated.to(real.device))
    )
    spread = first.std(dim=0).clamp_min(1e-6)
    return frechet_distance(first / spread, second / spread)


@torch.no_grad()
def random_features(images: Tensor, seed: int = 0, batch_size: int = 64) -> Tensor:
    """:class:`RandomFeatures` of slices ``(N, 1, H, W)`` in [-1, 1], ``(N, F)`` float64."""
    network = RandomFeatures(seed).to(images.device)
    return torch.cat([network(batch.float()) for batch in images.split(batch_size)]).double()


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to features ``(N, F)`` and ``(M, F)``, divided by F.

    With centred features X = A/√(N-1) and Y = B/√(M-1), the trace of (Σ₁Σ₂)^½ is the sum of the singular
    values of X Yᵀ: exact also for fewer slices than features, where a matrix square root is ill-conditioned.
    """
    means = first.mean(dim=0), second.mean(dim=0)
    x = (first - means[0]) / (len(first) - 1) ** 0.5
    y = (second - means[1]) / (len(second) - 1) ** 0.5
    overlap = torch.linalg.matrix_norm(x @ y.T, ord="nuc")
    distance = (means[0] - means[1]).square().sum() + x.square().sum() + y.square().sum() - 2 * overlap
    return max(distance.item(), 0.0) / first.shape[1]


class Support(NamedTuple):
    """Density (1: as real slices lie, more: crowded at common ones) and coverage (share of real slices reached)."""

    density: float
    coverage: float


def density_and_coverage(real: Tensor, generated: Tensor, neighbours: int = 5) -> Support:
    r"""How many balls around real samples hold a generated one, and how many real samples' balls do.

    The ball around a real sample reaches to its ``neighbours``-th nearest real one.

    Args:
        real: features (N, F), N > ``neighbours``.
        generated: features (M, F).
        neighbours: k.
    Raises:
        InputError: too few real samples.
    Source: Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for Generative Models, Sec. 3.
    """
    if len(real) <= neighbours or not len(generated):
        raise InputError(
            f"density and coverage: expected more than {neighbours} real samples and some generated ones, "
            f"found {len(real)} and {len(generated)}"
        )
    radius = nearest(real, real, neighbours + 1).distance[:, -1]  # the first is the sample itself
    within = torch.cdist(generated, real) < radius  # (M, N)
    density = within.double().sum().item() / (neighbours * len(generated))
    return Support(density, within.any(0).double().mean().item())


def kernel_distance(first: Tensor, second: Tensor, degree: int = 3) -> float:
    r"""Squared maximum mean discrepancy, unbiased, with the kernel :math:`(x^\top y / F + 1)^{degree}`.

    With degree 1 it is MONAI's ``MMDMetric``, which compares means alone, divided by F; the cubic kernel sees spread
    and skew as well. About 0, also below, for sets of one distribution.

    Args:
        first: features (N, F), N >= 2.
        second: features (M, F), M >= 2.
        degree: of the polynomial.
    Source: Bińkowski et al. 2018, Demystifying MMD GANs, Sec. 3.1; Gretton et al. 2012, Eq. 3.
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x.double() @ y.double().T / x.shape[1] + 1) ** degree

    def within(x: Tensor) -> Tensor:
        values = kernel(x, x)
        return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))

    return (within(first) + within(second) - 2 * kernel(first, second).mean()).item()


@torch.no_grad()
def perceptual_path_length(
    generator: Generator,
    domain: int,
    heights: Tensor,
    spread: Tensor,
    pairs: int = 200,
    seed: int = 0,
    step: float = 1e-4,
) -> float:
    r"""Mean of :math:`\lVert f(G(w_t)) - f(G(w_{t+\epsilon})) \rVert^2 / (F \epsilon^2)` on straight paths in W+.

    :math:`w_t` lies at a random t between the W+ of two latents of one domain and height, ``f`` are
    :class:`RandomFeatures` in units of ``spread``. Small where latents that lie close give slices that look alike; a
    relative measure, to be compared between factories on the same client.

    Args:
        generator: of which a copy in float64 is asked: differences of close images would drown in float32.
        domain: index of the domain.
        heights: of real slices (N,), of which each pair takes one; NaN for none.
        spread: of each feature over real slices, (F,).
        pairs: number of pairs of latents.
        seed: of latents, heights, places and noise.
        step: ε.
    Source: Karras et al. 2019, A Style-Based Generator Architecture, Sec. 4.1, with random features in VGG's place.
    """
    device = generator.constant.device
    generator, features = copy.deepcopy(generator).double(), RandomFeatures().double().to(device)
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(2, pairs, generator.z_dim, generator=random, dtype=torch.float64)
    at = heights.double()[torch.randint(len(heights), (pairs,), generator=random)]
    place = torch.rand(pairs, 1, generator=random, dtype=torch.float64)
    total = 0.0
    for first, second, height, t in zip(*(of.split(BATCH) for of in (*z, at, place)), strict=True):
        noise = generator.sample_noise(len(t), random)
        domains = torch.full((len(t),), domain, device=device)
        ends = [generator.w_plus(of.to(device), domains, height.to(device)) for of in (first, second)]
        described = [
            features(generator.synthesis(torch.lerp(*ends, by.to(device)[:, :, None]), noise).image)
            for by in (t, t + step)
        ]
        difference = (described[1] - described[0]) / (spread.to(described[0]) * step)
        total += difference.square().mean(1).sum().item()
    return total / pairs


def neighbour_difference(volume: Tensor) -> float:
    """Mean absolute difference of neighbouring slices of a volume (..., D), in its own intensities.

    Compare it between volumes of the same depth: the further apart two slices lie, the more they differ.

    Raises:
        InputError: fewer than two slices.
    """
    if volume.dim() < 2 or volume.shape[-1] < 2:
        raise InputError(f"expected a volume of at least two slices (..., D), found {tuple(volume.shape)}")
    return volume.float().diff(dim=-1).abs().mean().item()
