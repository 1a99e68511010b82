"""Clients with and without labels on which what a study gives them is measured: data roots, and how long it trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml

from shared_components.benchmarks import SCRIPTS
from shared_components.benchmarks.runs import shorter
from shared_components.data.dataset_json import DATASET_FILE, write_dataset
from shared_components.data.label_maps import ANNOTATED
from shared_components.data.phantoms import make_heads, make_vessels
from shared_components.data.spinal_cord import SITES, make_spinal_cord
from shared_components.errors import InputError
from shared_components.files import copy_file
from shared_components.metrics.intervals import Design

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


def write_few(root: Path, out: Path, few: int) -> Path:
    """Copy a data root all of whose volumes have labels; kept where it is there already.

    Args:
        root: the data root.
        out: of the copy, which has training volumes alone: of the first ones, the middle slice of what is marked has
            a label; nothing else has.
        few: how many; of a single volume its slice all the same, its others stay without.
    """
    if (out / DATASET_FILE).is_file():
        return out
    content = json.loads((root / DATASET_FILE).read_text(encoding="utf-8"))
    few = max(1, min(few, len(content["training"]) - 1))  # some volumes stay without, where there are several
    training = [
        _copied(
            root, out, {**item, ANNOTATED: [_middle(root / item["label"])]} if number < few else _bare(item)
        )
        for number, item in enumerate(content["training"])
    ]
    entries = {"name": out.name, "training": training, "validation": [], "test": []}
    write_dataset(out, {**content, **entries})
    return out


def _bare(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "label"}


def _middle(label: Path) -> int:
    """Of the slices, along the file's third axis, in which anything is marked."""
    marked = np.flatnonzero(np.asarray(nibabel.load(label).dataobj).any(axis=(0, 1)))
    return int(marked[len(marked) // 2]) if len(marked) else 0


def _copied(root: Path, out: Path, item: Mapping[str, Any]) -> dict[str, Any]:
    for file in (item[key] for key in ("image", "label") if key in item):
        copy_file(root / file, out / file)
    return dict(item)
