"""Ways to train the factory together, compared by quality, bytes and processor time; on which clients."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.benchmarks.factory_rows import ROWS, federation_values, row_text
from shared_components.benchmarks.factory_run import Segment, result_of, trained_segmenter
from shared_components.benchmarks.tables import machine, markdown
from shared_components.command_line import chosen
from shared_components.data.dataset_json import DATASET_FILE
from shared_components.data.phantoms import make_heads
from shared_components.data.spinal_cord import SITES, make_spinal_cord
from shared_components.errors import InputError
from shared_components.federation.folder_lock import FolderLock
from shared_components.files import write_text
from shared_components.steps import steps

HEAD = (
    *("way", "Fréchet distance", "floor", "of joint", "density", "coverage", "path length"),
    *("neighbours", "of real ones", "twins' Dice", "of all classes as one"),
    *("drawn labels' Dice", "memorised"),
    *("MB", "processor s"),
)
SMALL = {"channels": [8, 8, 8, 8], "discriminator_channels": [8, 8, 8, 8], "z_dim": 16, "w_dim": 16}
SMOKE_SIZE, SMOKE_UPDATES = 32, 12
HEAD_DOMAINS = ("t1", "t2", "pet")


def factory_choices(
    scenario: str,
    output_dir: str | Path,
    rows: str | Sequence[str] | None = None,
    updates: int = 1200,
    size: int = 64,
    seed: int = 0,
    report_only: bool = False,
    smoke: bool = False,
) -> str:
    """Train the factory in every way and compare what it draws; what has been run is kept.

    Args:
        scenario: of ``SCENARIOS``.
        output_dir: all lies in ``<output_dir>/factory/<scenario>``, with a table for each size, length and seed.
        rows: keys of ``ROWS``; all by default.
        updates: of every client, in total.
        size: px of a slice's side.
        seed: of the phantoms and of everything random in the training.
        report_only: run nothing.
        smoke: at the smallest size; in ``<output_dir>/factory/<scenario>_smoke``.
    Raises:
        InputError: an unknown scenario or row, a training failed, or nothing has been run yet.
    """
    if scenario not in SCENARIOS:
        raise InputError(f"scenario: expected one of {', '.join(SCENARIOS)}, found {scenario!r}")
    keys = chosen(rows, tuple(ROWS), "rows")
    size, updates = (SMOKE_SIZE, SMOKE_UPDATES) if smoke else (size, updates)
    folder = (Path(output_dir) / "factory" / (f"{scenario}_smoke" if smoke else scenario)).resolve()
    what = f"{scenario}, {size} px, {updates} updates a client, seed {seed}"
    clients = len(SCENARIOS[scenario].roots)
    texts = {key: row_text(row, clients, updates) for key, row in ROWS.items()}
    missing = InputError(f"{folder}: holds none of these runs; run without --report_only")
    if report_only and not folder.is_dir():
        raise missing
    table = ""  # of all ways that have been run, also by earlier calls
    with FolderLock(folder).held():
        trainings = _Trainings(SCENARIOS[scenario], folder, updates, size, seed, smoke)
        there = {key: trainings.result(key, report_only=True) for key in ROWS}
        for key in steps(keys, f"factory, {scenario}", "way", not report_only):
            there[key] = there[key] or trainings.result(key, report_only)
            found = {key: result for key, result in there.items() if result is not None}
            if found:
                table = _table(what, found, texts)
                write_text(folder / f"table_{trainings.name}.md", table)
    if not table:
        raise missing
    return table


class _Trainings:
    """Trainings of one scenario, size, length and seed, below one folder; data and segmenter are made at first."""

    def __init__(
        self, scenario: FactoryScenario, folder: Path, updates: int, size: int, seed: int, smoke: bool
    ) -> None:
        self._scenario, self._folder, self._updates, self._seed = scenario, folder, updates, seed
        self.name = f"{size}px_{updates}_seed{seed}"
        self._data, self._smoke = folder / f"data{seed}", smoke
        self._geometry = scenario.geometry(size)
        self._overrides = {key: self._geometry[key] for key in ("spacing", "image_size")}
        self._overrides |= SMALL if smoke else {}
        self._labelled = [str(self._data / root) for root in scenario.labelled.values()]
        self._clients = {domain: str(self._data / root) for domain, root in scenario.roots.items()}
        self._place = folder / f"segmenter{seed}_{size}"

    def _segmenter(self) -> Segment:
        """What finds the classes in all domains, once data and training are there."""
        self._scenario.make(self._data, self._seed, self._smoke)
        return trained_segmenter(self._place, self._geometry, self._labelled, self._smoke)

    def result(self, key: str, report_only: bool) -> dict[str, Any] | None:
        """Of one way; see :func:`result_of`."""
        values = federation_values(ROWS[key], self._clients, self._updates, self._labelled[0])
        whole = {
            "domains": self._geometry["domains"],
            "labels": self._geometry["labels"],
            "seed": self._seed,
            "workers": 1,
            **values,
            "overrides": {**values["overrides"], **self._overrides},
        }
        place, slices = self._folder / f"{key}_{self.name}", self._scenario.slices
        clients = {d: values["clients"][d]["data_root"] for d in self._clients if d in values["clients"]}
        return result_of(place, whole, clients or self._clients, self._segmenter, slices, report_only)


def _table(what: str, found: Mapping[str, Mapping[str, Any]], texts: Mapping[str, str]) -> str:
    joint = _mean(found["joint"], "frechet") if "joint" in found else None
    lines = [_line(texts[key], result, joint) for key, result in found.items()]
    return f"{what}.\n\n{markdown(HEAD, lines)}\n{machine()}\n"


def _line(text: str, result: Mapping[str, Any], joint: float | None) -> list[str]:
    distance = _mean(result, "frechet")
    return [
        text,
        f"{distance:.2f}",
        f"{_mean(result, 'frechet', 3):.2f}",
        "–" if joint is None else f"{distance / joint:.2f}",
        *(f"{_mean(result, name):.2f}" for name in ("density", "coverage", "path_length")),
        *(f"{_mean(result, 'neighbour_difference', at):.3f}" for at in (0, 3)),
        *(_dice(result.get(name)) for name in ("twins", "twins_whole", "labels")),
        f"{_mean(result, 'memorised_image'):.1%}",
        f"{result['megabytes']:.0f}",
        f"{result['seconds']:.0f}",
    ]


def _dice(value: float | None) -> str:
    """Runs of earlier versions lack some."""
    return "–" if value is None else f"{value:.3f}"


def _mean(result: Mapping[str, Any], name: str, at: int = 0) -> float:
    """Of a figure over the domains: ``at`` 0 the factory's, 3 what real slices give."""
    values = [own[name][at] for own in result["figures"].values() if name in own]
    return statistics.fmean(values) if values else float("nan")


@dataclass(frozen=True)
class FactoryScenario:
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


SCENARIOS = {
    "head": FactoryScenario(
        HEAD_DOMAINS,
        {0: "background", 1: "brain"},
        216.0,
        16,
        _make_heads,
        {domain: domain for domain in HEAD_DOMAINS},
        {"t1": "t1", "t2": "t2_labelled", "pet": "pet_labelled"},
    ),
    "spine": FactoryScenario(
        SITES,
        {0: "background", 1: "white matter", 2: "grey matter"},
        44.8,
        16,
        _make_cords,
        {site: f"factory/{site}" for site in SITES},
        {site: f"labelled/{site}" for site in SITES},
    ),
}
