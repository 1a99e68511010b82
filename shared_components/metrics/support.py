"""How much of what is real is drawn, and how much of what is drawn is real: density, coverage, kernel distance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.metrics.memorisation import nearest


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
