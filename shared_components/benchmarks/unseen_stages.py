"""Training and evaluation of one row of a table of unseen domains: one held-out domain, one seed."""

from __future__ import annotations

from typing import Any

from shared_components.benchmarks.repository import BUNDLES
from shared_components.benchmarks.shorter import PART, shorter_generalisation
from shared_components.benchmarks.study_stage import study_stage
from shared_components.benchmarks.unseen_places import Place
from shared_components.benchmarks.unseen_rows import ROWS
from shared_components.benchmarks.unseen_study import study_values
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import merged_config

BUNDLE = str(BUNDLES / "segmentation")


def unseen_stages(place: Place) -> tuple[Stage, Stage]:
    """Training, then inference and evaluation."""
    if ROWS[place.row].synthetic:
        training: Stage = study_stage(str(place), study_values(place), place.training)
    else:
        training = training_stage(place)
    return training, evaluation_stage(place, training.key)


def training_stage(place: Place) -> Stage:
    """The bundle's training, which leaves the held-out domain alone among all roots, or sees nothing but it."""
    row, scenario = ROWS[place.row], place.bench.scenario
    names = [place.held_out] if row.unseen else scenario.domains
    roots = [str(place.data / name) for name in names]
    values: dict[str, Any] = {
        **scenario.bundle_values(place.bench.smoke),
        "domains": list(names),
        "held_out": None if row.unseen else place.held_out,
        "label_fraction": scenario.label_fraction,
        "label_seed": place.seed,
        "seed": place.seed,
        "picture_every": 0,
        "quiet": True,
        "dataset_dir": roots,
        "ckpt_path": _model(place),
        **row.network,
        **lengths(place),
        **row.overrides,
    }
    configs = ("common.yaml", "train.yaml", *row.configs, *_small(place))
    return Stage(str(place), "training", BUNDLE, configs, values, place.training, reads=tuple(roots))


def evaluation_stage(place: Place, training: str) -> Stage:
    """Segment and score the held-out domain's test subjects; ``training`` is the key of the training's stage."""
    root = str(place.tested)
    values = {
        **place.bench.scenario.bundle_values(place.bench.smoke),
        "seed": place.seed,
        "dataset_dir": root,
        "ckpt_path": _model(place),
        **ROWS[place.row].network,
    }
    configs = ("common.yaml", "inference.yaml", "evaluate.yaml", *_small(place))
    needs = (training,)
    return Stage(str(place), "predictions", BUNDLE, configs, values, place.predictions, needs, (root,))


def lengths(place: Place) -> dict[str, Any]:
    """Values that say how long a row trains, where these are not the config's."""
    row = ROWS[place.row]
    ours = merged_config(_files("common.yaml", "train.yaml", *_small(place))).get()
    values = shorter_generalisation(ours) if place.bench.fast else ours
    if row.matched:  # after the warm-up each of our iterations is an update with labels and one without
        return {"max_epochs": 2 * values["max_epochs"] - values["warm_up_epochs"]}
    if not place.bench.fast:
        return {}
    if "unet.yaml" in row.configs:
        own = merged_config(_files("common.yaml", "train.yaml", *row.configs, *_small(place)))
        return {"max_epochs": max(1, round(own["max_epochs"] / PART))}
    return values


def _files(*names: str) -> tuple[str, ...]:
    return tuple(str(BUNDLES / "segmentation" / "configs" / name) for name in names)


def _small(place: Place) -> tuple[str, ...]:
    return ("smoke.yaml",) if place.bench.smoke else ()


def _model(place: Place) -> str:
    return str(place.trained / "model.pt")
