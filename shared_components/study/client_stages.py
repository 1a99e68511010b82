"""Which stages a study has after the factory, for each client by the labels it has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from monai.bundle import ConfigParser

from shared_components.data.dataset_json import SPLITS
from shared_components.federation.bundle_workflow import bundle_config, reads_labels
from shared_components.federation.file_digests import TRAINED_ON
from shared_components.study.candidates import candidate_stages, self_training
from shared_components.study.generalisation import SYNTHETIC_VALIDATION, generalisation_stages
from shared_components.study.matrix import matrix_stages
from shared_components.study.methods import segmenting, segmenting_together
from shared_components.study.settings import (
    ADAPTATION,
    GENERALISATION,
    PLAIN,
    SELF_TRAINED,
    SHAPES,
    SOURCE,
    TEACHERS,
    VARIANTS,
)
from shared_components.study.source_model import (
    JOINT,
    TOGETHER,
    check_source_federation,
    pretraining,
    source_weights,
    variants_at,
)
from shared_components.study.stage import Stage, check_overrides, make_stage, model_path
from shared_components.study.study import AUDIT_STAGE, CHOICE, EVERYBODY, Study

ORDER = (*VARIANTS, "synthetic", JOINT, SHAPES, GENERALISATION, ADAPTATION, *TEACHERS, CHOICE)
AS_TRAINED = ("channels", "min_foreground", "slices_per_volume")
"""Ids that the audit has in common with the factory's training, beside those that all stages have."""


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
        stages += _audit_stages(study)
    check_overrides(study, stages)
    rank = {name: place for place, name in enumerate(ORDER)}
    return sorted(stages, key=lambda stage: rank.get(stage.name, len(rank)))


def _source_stages(study: Study, client: str) -> Iterator[Stage]:
    for variant in _variants(study, client):
        yield _pretraining(study, client, variant)
    for variant in variants_at(study, client):
        yield from segmenting(study, client, variant, client)
    yield from segmenting_together(study, client)
    if study.compares_shapes:
        yield make_stage(study, client, SHAPES, ("shapes.yaml",), {})
    draws = study.generalises or (
        bool(study.targets) and not study.publishes_model and ADAPTATION in study.candidates
    )
    if client == study.source and draws:
        yield _drawing(study, client, _drawn(study))


def _variants(study: Study, client: str) -> list[str]:
    """Source models that a labelled client trains alone: its own for comparison, and those that others need."""
    if client != study.source:
        return variants_at(study, client)
    others = (*study.targets, *study.unseen)
    compared = study.flag("baselines") and any(study.is_scored(name) for name in others)
    own = variants_at(study, client)
    return [v for v in VARIANTS if v in own or (v == PLAIN and compared)]


def _drawn(study: Study) -> dict[str, Any]:
    """Settings of the source's synthetic volumes, which the others get."""
    extra = {"validation": SYNTHETIC_VALIDATION} if study.generalises else {}
    return {**extra, **study.section("synthesize")}


def _drawing(study: Study, client: str, settings: dict[str, Any]) -> Stage:
    """Synthetic labelled volumes, drawn at a client."""
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


def _target_stages(study: Study, client: str) -> Iterator[Stage]:
    if ADAPTATION in study.candidates and study.publishes_model:
        looks = {"twin_domains": [study.roots[client].domains[0]]}  # beside that in which the model labels
        yield _drawing(study, client, {**study.section("synthesize"), **looks})
    trained = list(candidate_stages(study, client))
    yield from trained
    names = [stage.name for stage in trained]
    compared = study.flag("baselines") and study.is_scored(client)
    if compared and SELF_TRAINED not in names:
        yield self_training(study, client, SELF_TRAINED)
        names.append(SELF_TRAINED)
    for name in (name for name in names if compared or name == study.own_model):
        yield from segmenting(study, client, name, client)
    if compared:
        for variant in dict.fromkeys((PLAIN, *study.needed_variants, SOURCE)):
            yield from _lent(study, client, variant)


def _lent(study: Study, client: str, variant: str) -> Iterator[Stage]:
    """A labelled client's model on another's volumes, and that of several, where they train it together."""
    if variant in (PLAIN, SOURCE) or not study.federates_source:
        yield from segmenting(study, client, variant, study.source)
    if study.federates_source and variant in study.needed_variants:
        yield from segmenting(study, client, TOGETHER[variant], EVERYBODY)
    if study.flag("joint") and variant == SOURCE:
        yield from segmenting(study, client, JOINT, EVERYBODY)


def _pretraining(study: Study, client: str, variant: str) -> Stage:
    own = {
        **pretraining(study, [client]),
        **VARIANTS[variant],
        "ckpt_path": model_path(study, client, variant),
    }
    return make_stage(study, client, variant, ("pretrain.yaml",), own)


def _joint_pretraining(study: Study) -> Stage:
    """The source model of all labelled clients' images, which this machine can read all of."""
    data = [study.roots[name] for name in study.sources]
    own = {
        "dataset_dir": [folder for one in data for folder in one.folders],
        **pretraining(study, study.sources),
        "ckpt_path": model_path(study, EVERYBODY, JOINT),
    }
    reads = [path for one in data for path in (*one.files, *one.paths(TRAINED_ON))]
    read_of = {file: read for one in data for file, read in one.read_for(TRAINED_ON).items()}
    return replace(make_stage(study, EVERYBODY, JOINT, ("pretrain.yaml",), own, reads=reads), read_of=read_of)


def _audit_stages(study: Study) -> Iterator[Stage]:
    """What the factory gives away of the client's images, and how well it draws them: one at each client, after the
    factory, which reads the client's images of every split. Of what it writes, the table of numbers alone may leave.
    """
    config = bundle_config(study.federation)
    parser, labels = ConfigParser(config), reads_labels(config)
    own = {id: parser.get_parsed_content(id) for id in AS_TRAINED if id in parser}
    own["ckpt_path"] = str(study.factory)
    bundle, reads = os.path.abspath(study.federation.bundle), (str(study.factory),)
    for client in study.roots:
        yield make_stage(
            study,
            client,
            AUDIT_STAGE,
            ("audit.yaml",),
            own,
            reads=reads,
            bundle=bundle,
            splits=SPLITS,
            labels=labels,
        )
