"""A client's slices as the factory was trained on them, and slices and stacks that the factory draws beside."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from shared_components.data.domain_splits import patient
from shared_components.data.slices import SliceDataset, chosen_slices
from shared_components.metrics import neighbour_difference
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents

BATCH = 64


@dataclass(frozen=True)
class ClientSlices:
    """Slices of one domain of a client, on the CPU.

    Attributes:
        images: (N, 1, S, S) in [-1, 1].
        heights: relative height of each in its volume (N,); NaN of a single-slice image.
        volumes: number of the volume that each is of, (N,).
        patients: number of the patient whose it is, (N,).
        numbers: its number in that volume, (N,).
        depth: slices of the median volume, those left out counted.
    """

    images: Tensor
    heights: Tensor
    volumes: Tensor
    patients: Tensor
    numbers: Tensor
    depth: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def volume_count(self) -> int:
        """Number of volumes."""
        return len(torch.unique(self.volumes))

    @property
    def patient_count(self) -> int:
        """Number of patients; several single slices may be one patient's."""
        return len(torch.unique(self.patients))

    def neighbour_difference(self) -> float:
        """Mean absolute difference of neighbouring slices, of all volumes; NaN where none has two."""
        stacks = [self.volumes == number for number in torch.unique(self.volumes)]
        return mean_difference([(self.images[of], self.numbers[of].tolist()) for of in stacks])


def client_slices(
    items: Sequence[Mapping[str, str]], description: Mapping[str, Any], settings: Mapping[str, Any]
) -> ClientSlices:
    """Read slices as the factory's own training does.

    Args:
        items: volumes of a data root, none or several.
        description: of the factory file.
        settings: ``percentiles``, ``min_foreground``, ``slices_per_volume`` and further arguments of
            :class:`SliceDataset` that the file does not tell.
    Raises:
        InputError: a volume cannot be read, or has no slice left.
    """
    size = description["generator"]["size"]
    if not items:
        none = torch.zeros(0, dtype=torch.int64)
        return ClientSlices(torch.zeros(0, 1, size, size), torch.zeros(0), none, none, none, 0)
    dataset = SliceDataset(
        items,
        description["domains"],
        size,
        description["spacing"],
        orientation=description["orientation"],
        **settings,
    )
    slices = [dataset[number] for number in range(len(dataset))]
    numbers: dict[str, int] = {}
    patients = [numbers.setdefault(patient(item), len(numbers)) for item in items]
    return ClientSlices(
        torch.stack([one["image"] for one in slices]),
        torch.stack([one["position"] for one in slices]),
        torch.tensor([where.item for where in dataset.index]),
        torch.tensor([patients[where.item] for where in dataset.index]),
        torch.tensor([where.slice for where in dataset.index]),
        statistics.median_low({where.item: where.depth for where in dataset.index}.values()),
    )


@torch.no_grad()
def drawn_slices(
    generator: Generator, domain: int, heights: Tensor, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Heights (count,), drawn from those of real slices (N,), and a slice at each of them, (count, 1, S, S).

    Every slice has a latent of its own.
    """
    random, device = torch.Generator().manual_seed(seed), generator.constant.device
    z = torch.randn(count, generator.z_dim, generator=random)
    at = heights[torch.randint(len(heights), (count,), generator=random)]
    parts = []
    for latents, places in zip(z.split(BATCH), at.split(BATCH), strict=True):
        domains = torch.full((len(latents),), domain, device=device)
        noise = generator.sample_noise(len(latents), random)
        parts.append(generator(latents.to(device), domains, places.to(device), noise).clamp(-1, 1).cpu())
    return at, torch.cat(parts)


@torch.no_grad()
def drawn_difference(
    generator: Generator, domain: int, depth: int, stacks: int, min_foreground: float, seed: int
) -> float:
    """Mean absolute difference of neighbouring slices in synthetic volumes of ``depth`` slices; NaN without any."""
    volumes = VolumeGenerator(generator, domain, depth)
    pairs = []
    for z in sample_latents(stacks, generator.z_dim, seed):
        stack = volumes(z[None].to(generator.constant.device))[0].movedim(-1, 0).cpu()  # (D, 1, S, S)
        numbers = chosen_slices(stack, None, min_foreground)
        pairs.append((stack[numbers], numbers))
    return mean_difference(pairs)


def mean_difference(stacks: Sequence[tuple[Tensor, Sequence[int]]]) -> float:
    """Mean over all pairs of slices whose numbers follow on each other.

    Args:
        stacks: images (D, 1, S, S) and the number of each, rising.
    """
    found, count = 0.0, 0
    for images, numbers in stacks:
        for run in _runs(numbers):
            found += (len(run) - 1) * neighbour_difference(images[run].movedim(0, -1))
            count += len(run) - 1
    return found / count if count else torch.nan


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Indices of numbers that follow on each other, in runs of at least two."""
    breaks = [place for place, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1]
    parts = pairwise([0, *breaks, len(numbers)])
    return [list(range(first, last)) for first, last in parts if last - first > 1]
