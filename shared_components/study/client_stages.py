"""Which stages a study has after the factory, for each client by the labels it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared_components.federation.data_record import TRAINED_ON
from shared_components.study.audits import audit_stages
from shared_components.study.generalisation import SYNTHETIC_VALIDATION, generalisation_stages
from shared_components.study.matrix import matrix_stages
from shared_components.study.segmenting import segmenting, segmenting_together
from shared_components.study.source_model import (
    JOINT,
    check_source_federation,
    pretraining,
    source_weights,
)
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import check_overrides, make_stage, model_path, synthetic_root
from shared_components.study.study import EVERYBODY, Study

ORDER = (
    "source_model",
    "synthetic",
    "joint_source",
    "source_only",
    "generalisation",
    "adaptation",
    "self_trained",
)


def study_stages(study: Study) -> list[Stage]:
    """All stages after the federated trainings, long ones and those that others wait for first.

    Raises:
        InputError: the ``study`` section overrides ids that no stage has, or its ``federated_source`` is unusable.
    """
    check_source_federation(study)
    stages = [stage for client in study.sources for stage in _source_stages(study, client)]
    stages += [stage for client in study.targets for stage in _target_stages(study, client)]
    if study.flag("joint"):
        stages.append(_joint_pretraining(study))
    if study.generalises:
        stages += generalisation_stages(study)
    if study.flag("matrix"):
        stages += matrix_stages(study, stages)
    if study.flag("audit"):
        stages += audit_stages(study)
    check_overrides(study, stages)
    rank = {name: place for place, name in enumerate(ORDER)}
    return sorted(stages, key=lambda stage: rank.get(stage.name, len(rank)))


def _source_stages(study: Study, client: str) -> Iterator[Stage]:
    yield _pretraining(study, client, "source_model")
    yield from segmenting(study, client, "source_model", client)
    yield from segmenting_together(study, client)
    if client == study.source and (study.targets or study.generalises):
        if study.generalises or not study.publishes_model:
            yield _synthesis(study)
        others = (*study.targets, *study.unseen)
        if study.flag("baselines") and any(study.is_scored(name) for name in others):
            yield _pretraining(study, client, "source_only", looks="none")


def _target_stages(study: Study, client: str) -> Iterator[Stage]:
    if study.publishes_model:
        yield _own_synthesis(study, client)
    yield _adaptation(study, client)
    yield from segmenting(study, client, "adaptation", client)
    if study.flag("baselines") and study.is_scored(client):
        yield _self_training(study, client)
        yield from segmenting(study, client, "self_trained", client)
        yield from segmenting(study, client, "source_model", study.source)
        yield from segmenting_together(study, client)
        yield from segmenting(study, client, "source_only", study.source)


def _pretraining(study: Study, client: str, name: str, **fixed: Any) -> Stage:
    own = {**pretraining(study, [client]), **fixed, "ckpt_path": model_path(study, client, name)}
    return make_stage(study, client, name, ("pretrain.yaml",), own)


def _joint_pretraining(study: Study) -> Stage:
    """The source model of all labelled clients' images, which this machine can read all of."""
    data = [study.roots[name] for name in study.sources]
    own = {
        "dataset_dir": [folder for one in data for folder in one.folders],
        **pretraining(study, study.sources),
        "ckpt_path": model_path(study, EVERYBODY, JOINT),
    }
    reads = [path for one in data for path in (*one.files, *one.paths(TRAINED_ON))]
    return make_stage(study, EVERYBODY, JOINT, ("pretrain.yaml",), own, reads=reads)


def _synthesis(study: Study) -> Stage:
    """At the source, whose volumes the others get."""
    extra = {"validation": SYNTHETIC_VALIDATION} if study.generalises else {}
    return _drawing(study, study.source, {**extra, **study.section("synthesize")})


def _own_synthesis(study: Study, client: str) -> Stage:
    """At a client that gets the source model alone: its own look, beside that in which the model labels."""
    return _drawing(
        study, client, {**study.section("synthesize"), "twin_domains": [study.roots[client].domains[0]]}
    )


def _drawing(study: Study, client: str, settings: Mapping[str, Any]) -> Stage:
    weights = source_weights(study)
    own = {
        "factory_path": str(study.factory),
        "source_model_path": weights.path,
        "source_domain": study.roots[study.source].domains[0],
        "progress": False,
        **settings,
    }
    reads = (str(study.factory), *weights.reads)
    return make_stage(study, client, "synthetic", ("synthesize.yaml",), own, weights.needs, reads)


def _adaptation(study: Study, client: str) -> Stage:
    source, weights = study.source, source_weights(study)
    drawn_at = client if study.publishes_model else source
    own = {
        "source_model_path": weights.path,
        "source_dir": synthetic_root(study, study.roots[source].domains[0], drawn_at),
        "twin_dir": synthetic_root(study, study.roots[client].domains[0], drawn_at),
        "ckpt_path": model_path(study, client, "adaptation"),
        "quiet": True,
        **({"own_labels": True} if study.has_few_labels(client) else {}),
        **study.section("train"),
    }
    needs = (*weights.needs, f"{drawn_at}/synthetic")
    return make_stage(study, client, "adaptation", ("train.yaml",), own, needs, weights.reads)


def _self_training(study: Study, client: str) -> Stage:
    weights = source_weights(study)
    own = {
        "source_model_path": weights.path,
        "ckpt_path": model_path(study, client, "self_trained"),
        "quiet": True,
        **study.section("self_training"),
    }
    configs = ("train.yaml", "self_training.yaml")
    return make_stage(study, client, "self_trained", configs, own, weights.needs, weights.reads)
