"""Training and evaluation of one row of the cardiac quality table: one held-out domain, one seed."""

from __future__ import annotations

from typing import Any

from shared_components.benchmarks.cardiac_places import DOMAINS, Place
from shared_components.benchmarks.cardiac_rows import ROWS
from shared_components.benchmarks.cardiac_study import study_values
from shared_components.benchmarks.repository import BUNDLES
from shared_components.benchmarks.study_stage import study_stage
from shared_components.study.stage import Stage

BUNDLE = str(BUNDLES / "segmentation")
LABEL_FRACTION = 0.1  # of the subjects of every training domain


def cardiac_stages(place: Place, smoke: bool = False) -> tuple[Stage, Stage]:
    """Training, then inference and evaluation.

    Args:
        place: what is run where.
        smoke: at the bundle's smallest sizes, to try the whole.
    """
    if ROWS[place.row].synthetic:
        training: Stage = study_stage(str(place), study_values(place, smoke), place.training)
    else:
        training = training_stage(place, smoke)
    return training, evaluation_stage(place, smoke, training.key)


def training_stage(place: Place, smoke: bool) -> Stage:
    """The bundle's training, which leaves the held-out domain alone among all roots, or sees nothing but it."""
    row = ROWS[place.row]
    names = [place.held_out] if row.unseen else DOMAINS
    roots = [str(place.data / name) for name in names]
    values: dict[str, Any] = {
        "domains": list(names),
        "held_out": None if row.unseen else place.held_out,
        "label_fraction": LABEL_FRACTION,
        "label_seed": place.seed,
        "seed": place.seed,
        "picture_every": 0,
        "quiet": True,
        "dataset_dir": roots,
        "ckpt_path": _model(place),
        **row.network,
        **row.overrides,
    }
    configs = ("common.yaml", "train.yaml", *row.configs, *_small(smoke))
    return Stage(str(place), "training", BUNDLE, configs, values, place.training, reads=tuple(roots))


def evaluation_stage(place: Place, smoke: bool, training: str) -> Stage:
    """Segment and score the held-out domain's test subjects; ``training`` is the key of the training's stage."""
    root = str(place.data / place.held_out)
    values = {
        "seed": place.seed,
        "dataset_dir": root,
        "ckpt_path": _model(place),
        **ROWS[place.row].network,
    }
    configs = ("common.yaml", "inference.yaml", "evaluate.yaml", *_small(smoke))
    needs = (training,)
    return Stage(str(place), "predictions", BUNDLE, configs, values, place.predictions, needs, (root,))


def _small(smoke: bool) -> tuple[str, ...]:
    return ("smoke.yaml",) if smoke else ()


def _model(place: Place) -> str:
    return str(place.trained / "model.pt")
