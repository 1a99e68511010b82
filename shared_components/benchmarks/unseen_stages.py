"""Training and evaluation of one row of a table of unseen domains: one held-out domain, one seed.

The training of one row is a whole study: a factory of the other domains' sites, synthetic volumes, one model.
"""

from __future__ import annotations

from typing import Any

import yaml

from shared_components.benchmarks import BUNDLES, SCRIPTS
from shared_components.benchmarks.runs import PART, shorter, shorter_generalisation, study_stage
from shared_components.benchmarks.unseen_rows import ROWS, UnseenRun
from shared_components.study.stage import Stage, merged_config

BUNDLE = str(BUNDLES / "segmentation")
SMOKE = {  # sections of a study at the smallest sizes
    "overrides": {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2},
    "pretrain": {"max_epochs": 2},
    "synthesize": {"volumes": 4, "slices": 6, "validation": 2},
    "generalisation": {
        "encoder_channels": [4, 8, 8],
        "anatomy_channels": 6,
        "style_channels": [4, 8],
        "decoder_channels": 4,
        "max_epochs": 2,
        "warm_up_epochs": 1,
        "teacher_epochs": [2],
    },
}


def unseen_stages(place: UnseenRun) -> tuple[Stage, Stage]:
    """Training, then inference and evaluation."""
    if ROWS[place.row].synthetic:
        training: Stage = study_stage(str(place), study_values(place), place.training)
    else:
        training = _training_stage(place)
    return training, _evaluation_stage(place, training.key)


def _training_stage(place: UnseenRun) -> Stage:
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


def _evaluation_stage(place: UnseenRun, training: str) -> Stage:
    """Segment and score the held-out domain's test subjects; ``training`` is the key of the training's stage."""
    root = str(place.tested)
    values = {
        **place.bench.scenario.bundle_values(place.bench.smoke),
        **place.bench.scenario.inference,
        "seed": place.seed,
        "dataset_dir": root,
        "ckpt_path": _model(place),
        **ROWS[place.row].network,
    }
    configs = ("common.yaml", "inference.yaml", "evaluate.yaml", *_small(place))
    needs = (training,)
    return Stage(str(place), "predictions", BUNDLE, configs, values, place.predictions, needs, (root,))


def lengths(place: UnseenRun) -> dict[str, Any]:
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


def _small(place: UnseenRun) -> tuple[str, ...]:
    return ("smoke.yaml",) if place.bench.smoke else ()


def _model(place: UnseenRun) -> str:
    return str(place.trained / "model.pt")


def study_values(place: UnseenRun) -> dict[str, Any]:
    """The scenario's federation file with a client for every domain but the held-out one, one process at a time.

    The first site labels the synthetic volumes. All sites have labels, and the study trains a model at each that has;
    those of the others are not used.
    """
    scenario, smoke = place.bench.scenario, place.bench.smoke
    small = ("smoke.yaml",) if smoke else ()
    bundle = _config("common.yaml", "train.yaml", *small) | scenario.bundle_values(smoke)
    shared = {name: bundle[name] for name in ("image_size", "spacing", "orientation", "percentiles")}
    values = yaml.safe_load((SCRIPTS / scenario.study).read_text(encoding="utf-8"))
    study = {key: value for key, value in values["study"].items() if key != "unseen"}
    domains = [name for name in scenario.domains if name != place.held_out]
    study |= {"source": domains[0], "jobs": 1, "baselines": False, "matrix": False}
    study |= {
        "generalisation": {**study.get("generalisation", {}), "picture_every": 0},
        **(SMOKE if smoke else {}),
    }
    values |= {
        "name": f"{place.held_out} held out",
        "configs": ["common.yaml", "train.yaml", *small],
        "domains": domains,
        "clients": {name: {"data_root": str(place.data / name), "domain": name} for name in domains},
        **({"rounds": 2, "updates_per_round": 2} if smoke else {}),
        "overrides": {**values["overrides"], **shared},
        "workers": 1,
        "seed": place.seed,
        "study": study,
    }
    return _shorter(values, bundle) if place.bench.fast else values


def _shorter(values: dict[str, Any], bundle: dict[str, Any]) -> dict[str, Any]:
    """A third of the updates, of the model at the end too."""
    own = shorter_generalisation({**bundle, **values["study"]["generalisation"]})
    found = shorter(values)
    found["study"]["generalisation"] |= own
    return found


def _config(*names: str) -> dict[str, Any]:
    return merged_config(tuple(str(BUNDLES / "segmentation" / "configs" / name) for name in names)).get()
