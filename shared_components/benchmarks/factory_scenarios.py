"""Clients on which ways to train the factory together are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.data.description import DATASET_FILE
from shared_components.data.phantoms import make_heads
from shared_components.data.spinal_cord import SITES, make_spinal_cord


@dataclass(frozen=True)
class Scenario:
    """Clients of one domain each.

    Attributes:
        domains: their names, which are those of the data roots.
        labels: the label set.
        millimetres: field of view that the slices show.
        slices: of a synthetic volume.
        make: writes the data roots of a seed into a folder; they are kept where they are.
        roots: domain to the data root of its client, below that folder.
        labelled: domain to the data root whose labels a segmenter may train on, below that folder.
    """

    domains: Sequence[str]
    labels: Mapping[int, str]
    millimetres: float
    slices: int
    make: Callable[[Path, int, bool], None]
    roots: Mapping[str, str]
    labelled: Mapping[str, str]

    def geometry(self, size: int) -> dict[str, Any]:
        """The ids of a bundle's config that say what a slice of ``size`` px shows."""
        return {
            "image_size": size,
            "spacing": round(self.millimetres / size, 6),
            "domains": list(self.domains),
            "labels": dict(self.labels),
        }


def _make_heads(folder: Path, seed: int, smoke: bool) -> None:
    small: dict[str, Any] = {"subjects": (2, 1, 1), "coarseness": 3.0} if smoke else {}
    make_heads(folder, seed=seed, label_all=True, **small)


def _make_cords(folder: Path, seed: int, smoke: bool) -> None:
    """The same real images whatever the seed."""
    for name, labelled in (("factory", ()), ("labelled", SITES)):
        if not (folder / name / SITES[-1] / DATASET_FILE).is_file():
            make_spinal_cord(folder / name, labelled, force=True)


HEAD_DOMAINS = ("t1", "t2", "pet")
SCENARIOS = {
    "head": Scenario(
        HEAD_DOMAINS,
        {0: "background", 1: "brain"},
        216.0,
        16,
        _make_heads,
        {domain: domain for domain in HEAD_DOMAINS},
        {"t1": "t1", "t2": "t2_labelled", "pet": "pet_labelled"},
    ),
    "spine": Scenario(
        SITES,
        {0: "background", 1: "white matter", 2: "grey matter"},
        44.8,
        16,
        _make_cords,
        {site: f"factory/{site}" for site in SITES},
        {site: f"labelled/{site}" for site in SITES},
    ),
}
