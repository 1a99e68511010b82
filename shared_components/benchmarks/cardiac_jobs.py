"""Training and evaluation of one row of the cardiac quality table: one held-out domain, one seed."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from shared_components.benchmarks.cardiac_rows import ROWS, Row
from shared_components.benchmarks.processes import REPOSITORY, Job, Step
from shared_components.data.phantoms.cardiac import SCANNERS
from shared_components.data.phantoms.writer import RECORD

BUNDLE = "bundles/segmentation"
DOMAINS = tuple(SCANNERS)
LABEL_FRACTION = 0.1  # of the subjects of every training domain
OVERRIDES = "overrides.yaml"


@dataclass(frozen=True)
class Place:
    """Where a run of the table lies.

    Attributes:
        folder: of the whole benchmark.
        seed: of the subjects, the choice of labelled ones and the training.
        held_out: the domain that is scored.
        row: key of ``ROWS``.
    """

    folder: Path
    seed: int
    held_out: str
    row: str

    @property
    def data(self) -> Path:
        """Client data roots of the seed, one per domain."""
        return self.folder / f"data{self.seed}"

    @property
    def training(self) -> Path:
        """Output of the training."""
        return self.folder / f"seed{self.seed}" / self.held_out / self.row / "training"

    @property
    def predictions(self) -> Path:
        """Segmentations of the held-out domain's test subjects, and their scores."""
        return self.training.parent / "predictions"

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.held_out} held out, {ROWS[self.row].name}"


def job_places(
    folder: Path, seeds: Sequence[int], domains: Sequence[str], rows: Sequence[str]
) -> list[Place]:
    """All runs, a seed after the other, so that whole tables of the first seeds come early."""
    return [Place(folder, seed, domain, row) for seed in seeds for row in rows for domain in domains]


def cardiac_job(place: Place, smoke: bool = False) -> Job:
    """Training, then inference and evaluation, each a process of ``python -m monai.bundle run``.

    Args:
        place: what is run where; its data must be there.
        smoke: at the bundle's smallest sizes, to try the whole.
    """
    row = ROWS[place.row]
    small = ("smoke.yaml",) if smoke else ()
    model = {"ckpt_path": str((place.training / "model.pt").resolve())}
    training = _step(
        ("common.yaml", "train.yaml", *row.configs, *small),
        {**_training_values(place, row), **row.network, **row.overrides},
        model | {"dataset_dir": [str((place.data / name).resolve()) for name in _training_roots(place, row)]},
        place.training,
        (place.data / RECORD).read_text(encoding="utf-8"),
    )
    evaluation = _step(
        ("common.yaml", "inference.yaml", "evaluate.yaml", *small),
        {"seed": place.seed, **row.network},
        model | {"dataset_dir": str((place.data / place.held_out).resolve())},
        place.predictions,
        training.fingerprint,
    )
    return Job(str(place), (training, evaluation))


def _training_roots(place: Place, row: Row) -> Sequence[str]:
    """All roots: it is the bundle that leaves the held-out one alone."""
    return [place.held_out] if row.unseen else DOMAINS


def _training_values(place: Place, row: Row) -> dict[str, Any]:
    return {
        "domains": [place.held_out] if row.unseen else list(DOMAINS),
        "held_out": None if row.unseen else place.held_out,
        "label_fraction": LABEL_FRACTION,
        "label_seed": place.seed,
        "seed": place.seed,
        "picture_every": 0,
        "quiet": True,
    }


def _step(
    configs: Sequence[str],
    values: Mapping[str, Any],
    paths: Mapping[str, Any],
    folder: Path,
    before: str,
) -> Step:
    """A run of the bundle.

    Args:
        configs: its config files, merged in this order.
        values: ids and values, merged last; with the configs they decide what the step does.
        paths: more of them, which do not.
        folder: its output folder.
        before: text that changes when what it reads does.
    """
    files = [f"{BUNDLE}/configs/{name}" for name in configs]
    content = json.dumps([_merged(tuple(files)), dict(values), before], sort_keys=True, default=str)
    overrides = {**values, **paths, "output_dir": str(folder.resolve())}
    listed = ",".join(f"'{file}'" for file in [*files, str(folder.resolve() / OVERRIDES)])
    command = (sys.executable, "-m", "monai.bundle", "run", "--config_file", f"[{listed}]")
    return Step(
        command=(*command, "--bundle_root", BUNDLE, "--logging_file", "False"),
        folder=folder,
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
        files=((OVERRIDES, yaml.safe_dump(overrides, sort_keys=False)),),
    )


@functools.cache
def _merged(files: tuple[str, ...]) -> dict[str, Any]:
    """What config files say together; their comments do not count."""
    return ConfigParser.load_config_files([str(REPOSITORY / file) for file in files])
