"""How evenly a generator's images change along paths between latents."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from shared_components.networks.generator import Generator
from shared_components.networks.random_features import RandomFeatures

BATCH = 32


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
    r"""Mean of :math:`\lVert f(G(w_t)) - f(G(w_{t+\epsilon})) \rVert^2 / (F \epsilon^2)` on straight paths in W.

    :math:`w_t` lies at a random t between the w of two latents of one domain and height, ``f`` are
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
        ends = [generator.mapping(of.to(device), domains, height.to(device)) for of in (first, second)]
        described = [
            features(generator.synthesis(generator.to_w_plus(torch.lerp(*ends, by.to(device))), noise).image)
            for by in (t, t + step)
        ]
        difference = (described[1] - described[0]) / (spread.to(described[0]) * step)
        total += difference.square().mean(1).sum().item()
    return total / pairs
