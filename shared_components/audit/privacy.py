"""Figures that tell what a factory gives away of the images that it was trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from shared_components.audit.client_slices import ClientSlices
from shared_components.audit.figures import Figure
from shared_components.metrics.frechet import random_features
from shared_components.metrics.membership import membership_inference
from shared_components.metrics.memorisation import (
    Memorisation,
    data_copying,
    memorisation,
    nearer_to_training,
    nearest,
)

LARGEST = 64  # px to which larger slices are reduced before they are compared pixel by pixel
FEWEST = 2  # slices on each side
SPACES = {"image": "pixels", "features": "features of a fixed random network"}


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
        space: of ``SPACES``.
        vectors: of all slices in that space, at least two of each.
        training: the training slices.
        held_out: slices of other subjects of the same client.
        seed: of bootstrap and thinning.
    """
    found = memorisation(*vectors)
    generated, own, other = vectors
    membership = membership_inference(own, other, generated, (training.volumes, held_out.volumes), seed)
    distances = [nearest(generated, of).distance.median().item() for of in (own, other)]
    figures = {
        "memorised": Figure.of(found.rate, found.chance.value),
        "memorised_by_chance": Figure.of(found.chance, found.chance.value),
        "flagged": Figure(float(found.flagged)),
        "membership": Figure.of(membership, 0.5),
        "nearer_to_training": Figure.of(nearer_to_training(*vectors, seed), 0.5),
        "nearest_distance": Figure(distances[0], real=distances[1]),
        "data_copying": Figure(data_copying(*vectors), real=0.0),
    }
    return {f"{name}_{space}": figure for name, figure in figures.items()}, found
