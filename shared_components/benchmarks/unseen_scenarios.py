"""Domains that are left out in turn: the data roots, and what the segmentation bundle is trained with on the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_components.data.description import DATASET_FILE
from shared_components.data.phantoms import make_cardiac
from shared_components.data.phantoms.cardiac import SCANNERS
from shared_components.data.spinal_cord import SITES, make_spinal_cord
from shared_components.metrics.paired_differences import Design

TESTS = "tests"  # folder beside data roots whose tests are not for scoring


@dataclass(frozen=True)
class UnseenScenario:
    """Domains of which each has labels and may be left out.

    Attributes:
        words: what they are and which labels are used, for the table.
        domains: names of the domains, and of their data roots.
        make: writes the data roots of a seed into a folder, at full or smallest size. What is there is kept.
        study: federation file in ``scripts`` whose study makes the row on synthetic volumes.
        label_fraction: share of the training subjects of every domain whose labels are used.
        values: of the bundle's config, for training and inference.
        smoke: the same at the smallest size, after ``smoke.yaml``.
        tests: where, in a seed's data, the data roots are whose test volumes are scored.
        without: keys of the rows that it has not.
        design: what repeats when the experiment does.
    """

    words: str
    domains: Sequence[str]
    make: Callable[[Path, int, bool], None]
    study: str
    label_fraction: float = 1.0
    values: Mapping[str, Any] = field(default_factory=dict)
    smoke: Mapping[str, Any] = field(default_factory=dict)
    tests: str = "."
    without: Sequence[str] = ()
    design: Design = field(default_factory=Design)

    def bundle_values(self, smoke: bool) -> dict[str, Any]:
        """``values`` of a size."""
        return {**self.values, **(self.smoke if smoke else {})}


def _make_hearts(folder: Path, seed: int, smoke: bool) -> None:
    small: dict[str, Any] = {"subjects": (4, 1, 1), "coarseness": 3.0} if smoke else {}
    make_cardiac(folder, seed=seed, generalisation=True, **small)


def _make_cords(folder: Path, seed: int, smoke: bool) -> None:
    """The same real images whatever the seed: with the labels to train on, and beside them those to be tested on."""
    tests = folder / TESTS
    if not (tests / SITES[-1] / DATASET_FILE).is_file():  # the last that is written
        make_spinal_cord(folder, SITES, force=True)
        make_spinal_cord(tests, (), force=True)


SCENARIOS = {
    "cardiac": UnseenScenario(
        "Cardiac phantoms; each column's domain was held out. Labels in 10% of the training subjects of every other "
        "domain, but where a row says otherwise, and in all their validation subjects.",
        tuple(SCANNERS),
        _make_hearts,
        "unseen_scanner.yaml",
        label_fraction=0.1,
    ),
    "spine_unseen": UnseenScenario(
        "Spinal cords of six real hospitals; each column's was held out, and its run 1 is the test. Every other "
        "hospital has labels of one volume and none of its repetition; the second sessions choose the weights.",
        SITES,
        _make_cords,
        "spine.yaml",
        values={
            "labels": {0: "background", 1: "white matter", 2: "grey matter"},
            "image_size": 64,
            "spacing": 0.7,
            "orientation": "RAS",
        },
        smoke={"image_size": 32, "spacing": 1.4},
        tests=TESTS,
        without=("bound",),  # of whoever was scanned in one session alone, nothing but the test is labelled
        design=Design(same_subjects=True, draw_clients=True),  # a hospital shows one person
    ),
}
