"""Training and evaluation of one row of the cardiac quality table: one held-out domain, one seed."""

from __future__ import annotations

from typing import Any

from shared_components.benchmarks.bundle_steps import bundle_step
from shared_components.benchmarks.cardiac_places import DOMAINS, Place
from shared_components.benchmarks.cardiac_rows import ROWS
from shared_components.benchmarks.cardiac_study import study_step
from shared_components.benchmarks.processes import Job, Step

BUNDLE = "bundles/segmentation"
LABEL_FRACTION = 0.1  # of the subjects of every training domain


def cardiac_job(place: Place, smoke: bool = False) -> Job:
    """Training, then inference and evaluation, in a process each.

    Args:
        place: what is run where; its data must be there.
        smoke: at the bundle's smallest sizes, to try the whole.
    """
    training = study_step(place, smoke) if ROWS[place.row].synthetic else training_step(place, smoke)
    return Job(str(place), (training, evaluation_step(place, smoke, training.fingerprint)))


def training_step(place: Place, smoke: bool) -> Step:
    """The bundle's training, which leaves the held-out domain alone among all roots, or sees nothing but it."""
    row = ROWS[place.row]
    roots = [place.held_out] if row.unseen else DOMAINS
    values: dict[str, Any] = {
        "domains": list(roots),
        "held_out": None if row.unseen else place.held_out,
        "label_fraction": LABEL_FRACTION,
        "label_seed": place.seed,
        "seed": place.seed,
        "picture_every": 0,
        "quiet": True,
        **row.network,
        **row.overrides,
    }
    return bundle_step(
        BUNDLE,
        ("common.yaml", "train.yaml", *row.configs, *_small(smoke)),
        values,
        {"dataset_dir": [str(place.data / name) for name in roots], "ckpt_path": _model(place)},
        place.training,
        place.record(),
    )


def evaluation_step(place: Place, smoke: bool, trained: str) -> Step:
    """Segment and score the held-out domain's test subjects; ``trained`` is the training's fingerprint."""
    return bundle_step(
        BUNDLE,
        ("common.yaml", "inference.yaml", "evaluate.yaml", *_small(smoke)),
        {"seed": place.seed, **ROWS[place.row].network},
        {"dataset_dir": str(place.data / place.held_out), "ckpt_path": _model(place)},
        place.predictions,
        trained,
    )


def _small(smoke: bool) -> tuple[str, ...]:
    return ("smoke.yaml",) if smoke else ()


def _model(place: Place) -> str:
    return str(place.trained / "model.pt")
