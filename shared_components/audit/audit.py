"""The audit of a factory on one client's images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_components.audit.client_slices import ClientSlices, client_slices, drawn_difference, drawn_slices
from shared_components.audit.figures import (
    FEWEST_COMPARED,
    Compared,
    Figure,
    features,
    frechet_by_height,
    neighbours_figure,
    path_figure,
    pixels,
    privacy_figures,
    quality_figures,
    write_figures,
)
from shared_components.audit.page import page
from shared_components.data import datalist
from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.handlers.pictures import picture_grid, save_picture
from shared_components.metrics.memorisation import Memorisation
from shared_components.networks.generator import Generator

TABLE = "audit.csv"
PAGE = "audit.md"
HELD_OUT = ("validation", "test")
WORST = 8  # pairs that are shown


def audit_factory(
    generator: Generator,
    description: Mapping[str, Any],
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike],
    output_dir: str | os.PathLike,
    percentiles: Sequence[float] = (0.5, 99.5),
    min_foreground: float = 0.02,
    slices_per_volume: int | None = None,
    drawn: int = 400,
    stacks: int = 4,
    seed: int = 0,
) -> dict[str, dict[str, Figure]]:
    """Compare what the factory draws with the training and the held-out slices of a client.

    Writes ``audit.csv`` (numbers alone), ``audit.md`` and a picture of the worst pairs of each domain, which shows
    real images and is for the client alone.

    Args:
        generator: the factory's generator.
        description: of the factory file: domains, spacing, orientation.
        dataset_dir: the client's data root, or several.
        output_dir: where to write.
        percentiles: intensities of each volume that become -1 and 1, as in the factory's training.
        min_foreground: fraction of a slice above air below which the factory was not trained on it.
        slices_per_volume: as in the factory's training.
        drawn: slices to draw of each domain.
        stacks: volumes to draw of each domain, for the difference of neighbouring slices.
        seed: of everything random.
    Returns:
        Domain to its figures by name.
    Raises:
        InputError: no training images, a domain that the factory does not know, or a volume that cannot be read.
    """
    settings = {
        "percentiles": percentiles,
        "min_foreground": min_foreground,
        "slices_per_volume": slices_per_volume,
    }
    items = {split: datalist(dataset_dir, split) for split in ("training", *HELD_OUT)}
    domains = list(dict.fromkeys(item["domain"] for item in items["training"]))
    if not domains:
        raise InputError(f"{dataset_dir}: expected training images to compare with, found none")
    figures, pictures = {}, {}
    for domain in domains:
        sets = [
            client_slices([item for split in splits for item in items[split] if item["domain"] == domain],
                          description, settings)
            for splits in (("training",), HELD_OUT)
        ]  # fmt: skip
        number = list(description["domains"]).index(domain)
        training, held_out = sets
        one = _Audit(generator, number, training, held_out, drawn, seed)
        difference = drawn_difference(generator, number, sets[0].depth, stacks, min_foreground, seed)
        figures[domain] = (
            one.figures()
            | neighbours_figure(difference, sets[0].neighbour_difference())
            | path_figure(generator, number, sets[0], seed)
        )
        if one.worst is not None:
            pictures[domain] = save_picture(Path(output_dir) / f"worst_pairs_{number}.png", one.worst)
    write_figures(Path(output_dir) / TABLE, figures)
    write_text(Path(output_dir) / PAGE, page("the factory", figures, pictures))
    return figures


class _Audit:
    """Of one domain.

    Args:
        generator: the factory's.
        domain: its index.
        training: the client's training slices.
        held_out: those of its validation and test volumes.
        drawn: slices to draw.
        seed: of everything random.
    Attributes:
        worst: picture of the most suspicious pairs, None before :meth:`figures` and where nothing can be compared.
    """

    def __init__(
        self,
        generator: Generator,
        domain: int,
        training: ClientSlices,
        held_out: ClientSlices,
        drawn: int,
        seed: int,
    ) -> None:
        self._training, self._held_out, self._seed = training, held_out, seed
        self._heights, self._drawn = drawn_slices(generator, domain, training.heights, drawn, seed)
        self.worst: Tensor | None = None

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        sets = self._drawn, self._training.images, self._held_out.images
        heights = self._heights, self._training.heights, self._held_out.heights
        found = self._counts()
        described = features(*sets)
        if min(map(len, sets)) >= FEWEST_COMPARED:
            spaces = {"image": Compared(*map(pixels, sets)), "features": Compared(*described)}
            for space, vectors in spaces.items():
                own, memorised = privacy_figures(space, vectors, self._training, self._held_out, self._seed)
                found |= own
                if space == "image":
                    self.worst = self._pairs(memorised)
        return (
            found
            | quality_figures(described[0], described[1], described[2], self._seed)
            | frechet_by_height(described, heights, self._seed)
        )

    def _counts(self) -> dict[str, Figure]:
        counts = {"drawn_slices": len(self._drawn)}
        for name, slices in (("training", self._training), ("held_out", self._held_out)):
            counts |= {
                f"{name}_slices": len(slices),
                f"{name}_volumes": slices.volume_count,
                f"{name}_patients": slices.patient_count,
            }
        return {name: Figure(float(count)) for name, count in counts.items()}

    def _pairs(self, memorised: Memorisation) -> Tensor:
        """Generated slice, nearest training slice and their difference, in lines of which the worst is the first."""
        worst = memorised.ratio.argsort()[:WORST]
        generated, real = self._drawn[worst], self._training.images[memorised.index[worst]]
        difference = (generated - real).abs() - 1
        return picture_grid(torch.stack([generated, real, difference], dim=1).flatten(0, 1), columns=3)
