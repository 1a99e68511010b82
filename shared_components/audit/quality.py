"""Figures that tell how well a factory draws a client's slices, beside what real slices give: the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from shared_components.audit.client_slices import ClientSlices
from shared_components.audit.figures import Figure
from shared_components.metrics.frechet import frechet_distance, random_features
from shared_components.metrics.path_length import perceptual_path_length
from shared_components.metrics.support import density_and_coverage, kernel_distance
from shared_components.networks.generator import Generator

NEIGHBOURS = 5  # of density and coverage, published
FEWEST = 8  # slices on each side
PARTS = ("lower", "middle", "upper")  # thirds of a volume


def quality_figures(generated: Tensor, training: Tensor, held_out: Tensor, seed: int) -> dict[str, Figure]:
    """Distances of generated from held-out slices, beside those of as many training slices.

    Args:
        generated: features (N, F).
        training: (M, F).
        held_out: (K, F); too few of any give no figures.
        seed: of the choice of as many slices on each side.
    """
    if min(len(generated), len(training), len(held_out)) < FEWEST:
        return {}
    drawn, own = equal_numbers(generated, training, seed)
    spaces = [density_and_coverage(held_out, of, NEIGHBOURS) for of in (drawn, own)]
    return {
        "frechet": Figure(frechet_distance(held_out, drawn), real=frechet_distance(held_out, own)),
        "kernel_distance": Figure(kernel_distance(held_out, drawn), real=kernel_distance(held_out, own)),
        "density": Figure(spaces[0].density, real=spaces[1].density),
        "coverage": Figure(spaces[0].coverage, real=spaces[1].coverage),
    }


def frechet_by_height(sets: Sequence[Tensor], heights: Sequence[Tensor], seed: int) -> dict[str, Figure]:
    """The Fréchet distance of each third of the volumes.

    Args:
        sets: features of generated, training and held-out slices, (·, F).
        heights: relative height of each, (·,); NaN of single-slice images.
        seed: see :func:`quality_figures`.
    """
    found = {}
    for number, part in enumerate(PARTS):
        inside = [(h * len(PARTS)).floor().clamp(max=len(PARTS) - 1) == number for h in heights]
        generated, training, held_out = (of[here] for of, here in zip(sets, inside, strict=True))
        if min(len(generated), len(training), len(held_out)) >= FEWEST:
            drawn, own = equal_numbers(generated, training, seed)
            found[f"frechet_{part}"] = Figure(
                frechet_distance(held_out, drawn), real=frechet_distance(held_out, own)
            )
    return found


def equal_numbers(first: Tensor, second: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """As many of each as the smaller has, by chance: distances fall with the number of samples."""
    random, number = torch.Generator().manual_seed(seed), min(len(first), len(second))
    return tuple(of[torch.randperm(len(of), generator=random)[:number]] for of in (first, second))


def neighbours_figure(drawn: float, real: float) -> dict[str, Figure]:
    """Mean absolute difference of neighbouring slices beside real volumes' own; nothing where there is no stack."""
    return {} if math.isnan(drawn) or math.isnan(real) else {"neighbour_difference": Figure(drawn, real=real)}


def path_figure(generator: Generator, domain: int, training: ClientSlices, seed: int) -> dict[str, Figure]:
    """Perceptual path length, in the features' spread over the training slices; nothing where there are too few."""
    if len(training) < FEWEST:
        return {}
    spread = random_features(training.images).std(0).clamp_min(1e-6)
    return {
        "path_length": Figure(perceptual_path_length(generator, domain, training.heights, spread, seed=seed))
    }
