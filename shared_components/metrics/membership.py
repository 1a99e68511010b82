"""Whether somebody who has only the generator can tell whose image it was trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_components.metrics.memorisation import nearest
from shared_components.metrics.rates import Estimate, area_with_interval

FEWEST = (
    3  # volumes on each side, below which slices are drawn in their place, and nothing should be concluded
)


def membership_inference(
    training: Tensor,
    held_out: Tensor,
    generated: Tensor,
    volumes: tuple[Tensor, Tensor],
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve of an attack that takes slices near to a generated one for training slices.

    0.5: the attack tells nothing; 1: it always knows. The interval is that of a bootstrap over volumes, where both
    sides have at least three, else over slices, which is too narrow.

    Args:
        training: slices or their features, (N, F).
        held_out: (M, F) of subjects that are not in ``training``.
        generated: (K, F), what the attacker has drawn.
        volumes: the volume that each of ``training`` and ``held_out`` is of, integers (N,) and (M,).
        seed: of the bootstrap.
    Source: Chen et al. 2020, GAN-Leaks, Sec. 4.2 (full black-box attack).
    """
    members, others = (-nearest(queries, generated).distance[:, 0] for queries in (training, held_out))
    if any(len(torch.unique(of)) < FEWEST for of in volumes):
        volumes = torch.arange(len(members)), torch.arange(len(others))
    return area_with_interval(members, others, volumes, seed=seed)
