"""The row whose training is a whole study: a factory of the other domains' sites, synthetic volumes, one model."""

from __future__ import annotations

from typing import Any

import yaml

from shared_components.benchmarks.repository import BUNDLES, SCRIPTS
from shared_components.benchmarks.shorter import shorter, shorter_generalisation
from shared_components.benchmarks.unseen_places import Place
from shared_components.study.stage_parts import merged_config

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


def study_values(place: Place) -> dict[str, Any]:
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
