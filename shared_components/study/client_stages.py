"""Which stages a study has after the factory, for each client by the labels it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from shared_components.study.generalisation import SYNTHETIC_VALIDATION, generalisation_stages
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import (
    check_overrides,
    make_stage,
    model_path,
    segmenting,
    synthetic_root,
)
from shared_components.study.study import Study


class Method(NamedTuple):
    """A way to a model, as all tables and documents call it.

    Attributes:
        name: in tables.
        what: a sentence about it.
    """

    name: str
    what: str


METHODS = {  # stages whose segmentations are compared, in the order of the report's table: ours are the last
    "source_only_predictions": Method(
        "source model without augmentation",
        "a U-Net trained on the labelled client's images as they are, and applied to those of other scanners: "
        "how far a model gets when nothing is done about that",
    ),
    "source_model_predictions": Method(
        "source model",
        "a U-Net trained on a labelled client's images with strong augmentation, and applied as it is; that client's "
        "own model, the start of the adaptation, and what labels the synthetic volumes",
    ),
    "self_trained_predictions": Method(
        "source model, self-trained",
        "the source model, trained on with its own labels of the client's images; nothing synthetic is used",
    ),
    "generalisation_predictions": Method(
        "generalisation",
        "one model for every scanner, also for those that nobody has seen; trained on labelled synthetic volumes "
        "of every domain, and on no real image",
    ),
    "adaptation_predictions": Method(
        "adaptation",
        "the own model of a client without labels: the source model, trained on with labelled synthetic volumes in "
        "the look of that client's scanner and with its own images; labels of its test volumes serve for scoring alone",
    ),
}
ORDER = ("source_model", "synthetic", "source_only", "generalisation", "adaptation", "self_trained")


def study_stages(study: Study) -> list[Stage]:
    """All stages after the factory, long ones and those that others wait for first.

    Raises:
        InputError: the ``study`` section overrides ids that no stage has.
    """
    stages = [stage for client in study.sources for stage in _source_stages(study, client)]
    stages += [stage for client in study.targets for stage in _target_stages(study, client)]
    if study.generalises:
        stages += generalisation_stages(study)
    check_overrides(study, stages)
    rank = {name: place for place, name in enumerate(ORDER)}
    return sorted(stages, key=lambda stage: rank.get(stage.name, len(rank)))


def _source_stages(study: Study, client: str) -> Iterator[Stage]:
    yield _pretraining(study, client, "source_model")
    yield from segmenting(study, client, "source_model", client)
    if client == study.source and (study.targets or study.generalises):
        yield _synthesis(study)
        others = (*study.targets, *study.unseen)
        if study.baselines and any(study.is_scored(name) for name in others):
            yield _pretraining(study, client, "source_only", strong_augmentation=False)


def _target_stages(study: Study, client: str) -> Iterator[Stage]:
    yield _adaptation(study, client)
    yield from segmenting(study, client, "adaptation", client)
    if study.baselines and study.is_scored(client):
        yield _self_training(study, client)
        yield from segmenting(study, client, "self_trained", client)
        yield from segmenting(study, client, "source_model", study.source)
        yield from segmenting(study, client, "source_only", study.source)


def _pretraining(study: Study, client: str, name: str, **fixed: Any) -> Stage:
    validate = {} if study.roots[client].items("validation", labelled=True) else {"val_interval": 0}
    own = {"quiet": True, **validate, **study.section("pretrain"), **fixed}
    own["ckpt_path"] = model_path(study, client, name)
    return make_stage(study, client, name, ("pretrain.yaml",), own)


def _synthesis(study: Study) -> Stage:
    client = study.source
    own = {
        "factory_path": str(study.factory),
        "source_model_path": model_path(study, client, "source_model"),
        "source_domain": study.roots[client].domains[0],
        "progress": False,
        **({"validation": SYNTHETIC_VALIDATION} if study.generalises else {}),
        **study.section("synthesize"),
    }
    needs, reads = (f"{client}/source_model",), (str(study.factory),)
    return make_stage(study, client, "synthetic", ("synthesize.yaml",), own, needs, reads)


def _adaptation(study: Study, client: str) -> Stage:
    source = study.source
    own = {
        "source_model_path": model_path(study, source, "source_model"),
        "source_dir": synthetic_root(study, study.roots[source].domains[0]),
        "twin_dir": synthetic_root(study, study.roots[client].domains[0]),
        "ckpt_path": model_path(study, client, "adaptation"),
        "quiet": True,
        **study.section("train"),
    }
    needs = (f"{source}/source_model", f"{source}/synthetic")
    return make_stage(study, client, "adaptation", ("train.yaml",), own, needs)


def _self_training(study: Study, client: str) -> Stage:
    own = {
        "source_model_path": model_path(study, study.source, "source_model"),
        "ckpt_path": model_path(study, client, "self_trained"),
        "quiet": True,
        **study.section("self_training"),
    }
    configs, needs = ("train.yaml", "self_training.yaml"), (f"{study.source}/source_model",)
    return make_stage(study, client, "self_trained", configs, own, needs)
