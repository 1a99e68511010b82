"""Clients with and without labels on which what a study gives them is measured: data roots and federation files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from shared_components.benchmarks.repository import SCRIPTS
from shared_components.benchmarks.shorter import shorter
from shared_components.data.description import DATASET_FILE
from shared_components.data.phantoms import make_heads, make_vessels
from shared_components.data.spinal_cord import SITES, make_spinal_cord
from shared_components.errors import InputError
from shared_components.metrics.paired_differences import Design

FEW = 3  # labelled slices in the rows that have few: of what, each scenario says
SMOKE_FILE = SCRIPTS / "quickstart_smoke.yaml"  # the smallest sizes of every stage
WHO = ("source", "sources")  # keys of a study that name clients with labels: the data say who they are
ALONE = {"matrix": False, "audit": False}  # of a study: what no table of these is made from
SMALL: dict[str, Any] = {"subjects": (2, 1, 1), "coarseness": 3.0}  # of phantoms


@dataclass(frozen=True)
class QualityScenario:
    """Clients of one domain each.

    Attributes:
        file: federation file in ``scripts``, with a client for each domain.
        labelled: domains whose clients may have labels; the first has them by default.
        make: writes the data roots of a seed into a folder, with labels of some domains, at full or smallest size;
            each domain's is called as it. What is there is kept.
        smoke: values of the factory's config at the smallest size.
        design: what repeats when the experiment does.
        supervised: domain to the data roots whose training labels are those of its own domain and whose tests together
            are its own test: for a bound. Only what is there counts.
        few: the same with few labelled slices, which no test counts.
        few_slices: which ones these are.
    """

    file: str
    labelled: Sequence[str]
    make: Callable[[Path, int, Sequence[str], bool], None]
    smoke: Mapping[str, Any]
    design: Design = field(default_factory=Design)
    supervised: str = "{domain}_labelled"
    few: str = "{domain}_few"
    few_slices: str = (
        f"the middle one of each of the first {FEW} training volumes, of all but one where these are fewer"
    )

    def roots(self, pattern: str, data: Path, domain: str) -> list[Path]:
        """Data roots of a domain of a pattern such as ``supervised``, of those that are there."""
        found = data.glob(f"{pattern.format(domain=domain)}/{DATASET_FILE}")
        return [file.parent for file in sorted(found)]

    def chosen(self, labelled: Sequence[str] | None) -> tuple[str, ...]:
        """Domains with labels.

        Raises:
            InputError: a domain that cannot have labels.
        """
        chosen = tuple(labelled or self.labelled[:1])
        strange = [domain for domain in chosen if domain not in self.labelled]
        if strange:
            known = ", ".join(self.labelled)
            raise InputError(f"labelled: expected some of {known}, joined by +, found {strange[0]!r}")
        return chosen

    def values(self, data: Path, seed: int, fast: bool = False, smoke: bool = False) -> dict[str, Any]:
        """The content of a federation file of a seed; who has labels, the data say.

        Args:
            data: folder of the data roots.
            seed: of everything random.
            fast: a third of the updates of everything.
            smoke: the smallest sizes.
        """
        values = yaml.safe_load((SCRIPTS / self.file).read_text(encoding="utf-8"))
        study = {key: value for key, value in values.get("study", {}).items() if key not in WHO}
        clients = {
            name: {**client, "data_root": str(data / client["domain"])}
            for name, client in values["clients"].items()
        }
        values |= {"clients": clients, "seed": seed, "study": study}
        if smoke:
            small = yaml.safe_load(SMOKE_FILE.read_text(encoding="utf-8"))
            kept = ("configs", "rounds", "updates_per_round", "workers")
            sections = {key: value for key, value in small["study"].items() if key not in WHO}
            values |= {key: small[key] for key in kept} | {"overrides": dict(self.smoke)}
            values["study"] = {**study, **sections}
        values["study"] |= ALONE
        return shorter(values) if fast else values


def _make_heads(
    folder: Path, seed: int, labelled: Sequence[str], smoke: bool, patients: bool = False
) -> None:
    small = SMALL if smoke else {}
    make_heads(
        folder, seed=seed, labelled=labelled[0], label_all=True, patients=patients, force=True, **small
    )


def _make_vessels(folder: Path, seed: int, labelled: Sequence[str], smoke: bool) -> None:
    make_vessels(folder, seed=seed, label_all=True, force=True, **(SMALL if smoke else {}))


def _make_cords(folder: Path, seed: int, labelled: Sequence[str], smoke: bool) -> None:
    """The same real images whatever the seed."""
    if not (folder / SITES[-1] / DATASET_FILE).is_file():  # the last that is written
        make_spinal_cord(folder, labelled, force=True, few=FEW)


HEADS = QualityScenario("heads.yaml", ("t1", "t2", "pet"), _make_heads, {"image_size": 32, "spacing": 6.0})
SCENARIOS = {
    "head": HEADS,
    "patients": replace(HEADS, make=partial(_make_heads, patients=True)),
    "spine": QualityScenario(
        "spine.yaml",
        SITES,
        _make_cords,
        {"image_size": 32, "spacing": 1.4},
        Design(same_subjects=True, draw_clients=True),  # a hospital shows one person
        supervised="{domain}_session*",
        few_slices=f"{FEW} slices of each test volume, which the test leaves out",
    ),
    "vessels": QualityScenario("vessels.yaml", ("mra",), _make_vessels, {"image_size": 32, "spacing": None}),
}
