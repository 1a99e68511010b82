"""The numbers of an audit, and the table in which they travel: nothing else of it leaves a client.

They tell how well a factory draws a client's slices and what it gives away of them, beside what real slices give.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from shared_components.audit.client_slices import ClientSlices
from shared_components.errors import InputError, shown
from shared_components.metrics.drawing_quality import (
    density_and_coverage,
    frechet_distance,
    kernel_distance,
    perceptual_path_length,
    random_features,
)
from shared_components.metrics.intervals import Estimate
from shared_components.metrics.memorisation import (
    Memorisation,
    data_copying,
    membership_inference,
    memorisation,
    nearer_to_training,
)
from shared_components.networks.generator import Generator
from shared_components.records import read_table, write_table

COLUMNS = ("domain", "figure", "value", "low", "high", "real")
NEIGHBOURS = 5  # of density and coverage, published
FEWEST = 8  # slices on each side
PARTS = ("lower", "middle", "upper")  # thirds of a volume
LARGEST = 64  # px to which larger slices are reduced before they are compared pixel by pixel
FEWEST_COMPARED = 2  # slices on each side


class Figure(NamedTuple):
    """A number of an audit.

    Attributes:
        value: of the factory's slices.
        low: end of its 95 % interval, NaN where it has none.
        high: the other end.
        real: what real slices give in their place; NaN where there is nothing to compare.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    real: float = math.nan

    @classmethod
    def of(cls, estimate: Estimate, real: float) -> Figure:
        """An estimate beside what real slices give."""
        return cls(*estimate, real)


Figures = Mapping[str, Figure]
"""Name to figure, of one domain of one client."""


def write_figures(path: str | os.PathLike, figures: Mapping[str, Figures]) -> Path:
    """Write the figures of each domain as CSV."""
    rows = [
        {"domain": domain, "figure": name, **figure._asdict()}
        for domain, own in figures.items()
        for name, figure in own.items()
    ]
    return write_table(path, COLUMNS, rows)


def read_figures(path: str | os.PathLike) -> dict[str, dict[str, Figure]]:
    """Domain to its figures, as :func:`write_figures` wrote them.

    Raises:
        InputError: the file is missing or damaged, or holds something else.
    """
    found: dict[str, dict[str, Figure]] = {}
    for row in read_table(path, "audit again"):
        try:
            numbers = [float(row[column]) for column in COLUMNS[2:]]
            found.setdefault(row["domain"], {})[row["figure"]] = Figure(*numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: expected columns {', '.join(COLUMNS)} with numbers, found {shown(row)}; audit again"
            ) from error
    return found


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
    drawn, own = _equal_numbers(generated, training, seed)
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
            drawn, own = _equal_numbers(generated, training, seed)
            found[f"frechet_{part}"] = Figure(
                frechet_distance(held_out, drawn), real=frechet_distance(held_out, own)
            )
    return found


def _equal_numbers(first: Tensor, second: Tensor, seed: int) -> tuple[Tensor, Tensor]:
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


class Compared(NamedTuple):
    """Generated, training and held-out slices as vectors of one space, each (·, F)."""

    generated: Tensor
    training: Tensor
    held_out: Tensor


def pixels(images: Tensor) -> Tensor:
    """Slices (N, 1, S, S) as vectors, those above 64 px reduced by averaging; their distance is per pixel, RMS."""
    if images.shape[-1] > LARGEST:
        images = functional.adaptive_avg_pool2d(images, LARGEST)
    return images.flatten(1) / images[0].numel() ** 0.5 if len(images) else images.flatten(1)


def features(*sets: Tensor) -> list[Tensor]:
    """Random features of each set, as deviations from the second's mean, the training slices', in their spreads."""
    found = [random_features(images) if len(images) else torch.zeros(0, 1) for images in sets]
    mean, spread = found[1].mean(0), found[1].std(0).clamp_min(1e-6)
    return [(of - mean) / spread if len(of) else of for of in found]


def privacy_figures(
    space: str, vectors: Compared, training: ClientSlices, held_out: ClientSlices, seed: int
) -> tuple[dict[str, Figure], Memorisation]:
    """The figures of one space, their names ending in its name, and the memorisation with the nearest pairs.

    Args:
        space: of ``page.SPACES``.
        vectors: of all slices in that space, at least two of each.
        training: the training slices.
        held_out: slices of other subjects of the same client.
        seed: of the draws of patients.
    """
    found = memorisation(*vectors, held_out.patients)
    generated, own, other = vectors
    patients = training.patients, held_out.patients
    membership = membership_inference(own, other, generated, patients, seed)
    nearer = nearer_to_training(*vectors, patients, seed)
    figures = {
        "memorised": Figure.of(found.rate, found.chance.value),
        "memorised_by_chance": Figure.of(found.chance, found.chance.value),
        "flagged": Figure(float(found.flagged)),
        "membership": Figure.of(membership, 0.5),
        "nearer_to_training": Figure.of(nearer.share, 0.5),
        "nearest_distance": Figure(nearer.training, real=nearer.held_out),
        "data_copying": Figure(data_copying(*vectors, held_out.patients), real=0.0),
    }
    return {f"{name}_{space}": figure for name, figure in figures.items()}, found
