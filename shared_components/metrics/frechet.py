"""How far generated slices are from real ones, without any downloaded network."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.networks.random_features import RandomFeatures


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
