"""The models that a client without labels chooses among, and what a study tells of the choices that they have made."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from shared_components.choice.client_choice import PICTURE, RECORD
from shared_components.records import read_table
from shared_components.study.methods import METHODS
from shared_components.study.released import METRICS
from shared_components.study.released import SHAPES as SHAPES_FILE
from shared_components.study.settings import ADAPTATION, MILD, SHAPES, SOURCE, TEACHERS, VARIANTS
from shared_components.study.source_model import TOGETHER, Weights, source_weights, trained, variants_at
from shared_components.study.stage import Stage, make_stage, model_path, synthetic_root
from shared_components.study.study import CHOICE, Study
from shared_components.study_record import ChoiceFiles

CONFIDENT = {"pseudo_confidence": 0.7}  # of several teachers together, of a pixel that is learnt from


def candidates(study: Study, client: str) -> dict[str, Weights]:
    """What a client without labels chooses among, by the variant of the source model or the stage that trains it."""
    return {
        name: source_weights(study, name) if name in VARIANTS else trained(study, client, name)
        for name in study.candidates
    }


def candidate_stages(study: Study, client: str) -> Iterator[Stage]:
    """The trainings at a client without labels, and the choice among what they and the source give."""
    if ADAPTATION in study.candidates:
        yield _adaptation(study, client)
    for name in TEACHERS:
        if name in study.candidates:
            yield self_training(study, client, name)
    if study.chooses:
        yield _choice(study, client)


def _choice(study: Study, client: str) -> Stage:
    found = candidates(study, client)
    described = study.sources if study.compares_shapes else ()
    own = {
        "candidates": {name: weights.path for name, weights in found.items()},
        "shapes_paths": [str(study.place(source, SHAPES) / SHAPES_FILE) for source in described],
        **({} if study.compares_shapes else {"margin": None}),
        "ckpt_path": model_path(study, client, CHOICE),
        "quiet": True,
    }
    needs = [need for weights in found.values() for need in weights.needs]
    needs += [f"{source}/{SHAPES}" for source in described]
    reads = [file for weights in found.values() for file in weights.reads]
    return make_stage(study, client, CHOICE, ("choose.yaml",), own, needs, reads)


def _adaptation(study: Study, client: str) -> Stage:
    source, weights = study.source, source_weights(study)
    drawn_at = client if study.publishes_model else source
    own = {
        "source_model_path": weights.path,
        "source_dir": synthetic_root(study, study.roots[source].domains[0], drawn_at),
        "twin_dir": synthetic_root(study, study.roots[client].domains[0], drawn_at),
        "ckpt_path": model_path(study, client, ADAPTATION),
        "quiet": True,
        **_own_labels(study, client),
        **study.section("train"),
    }
    needs = (*weights.needs, f"{drawn_at}/synthetic")
    return make_stage(study, client, ADAPTATION, ("train.yaml",), own, needs, weights.reads)


def _own_labels(study: Study, client: str) -> dict[str, Any]:
    """What lets a client's labels train its model; where all its slices have some, batches are of nothing else."""
    if not study.has_few_labels(client):
        return {}
    return {
        "own_labels": True,
        **({"labelled_per_batch": None} if study.roots[client].label_share == 1 else {}),
    }


def self_training(study: Study, client: str, name: str) -> Stage:
    """One or several variants of the source model teach it on the client's images.

    Taught by several, it starts from the last but the strongly varied one, which is hard to unlearn, and the looks of
    its images are mildly varied.
    """
    teachers = [source_weights(study, variant) for variant in TEACHERS[name]]
    start = teachers[TEACHERS[name].index(MILD)] if MILD in TEACHERS[name] else teachers[0]
    together = {"teacher_paths": [one.path for one in teachers], **VARIANTS[MILD], **CONFIDENT}
    own = {
        "source_model_path": start.path,
        "ckpt_path": model_path(study, client, name),
        "quiet": True,
        **(together if len(teachers) > 1 else {}),
        **study.section("self_training"),
    }
    needs = dict.fromkeys(need for one in teachers for need in one.needs)
    reads = dict.fromkeys(file for one in teachers for file in one.reads)
    configs = ("train.yaml", "self_training.yaml")
    return make_stage(study, client, name, configs, own, tuple(needs), tuple(reads))


def choices(study: Study, done: Collection[str]) -> dict[str, Any]:
    """Fields of the study's record: the files of each client's choice, and what candidates are called.

    Args:
        study: which has run.
        done: keys of the stages that are.
    """
    if not study.chooses:
        return {}
    found = {}
    for client in (name for name in study.targets if f"{name}/{CHOICE}" in done):
        place = study.place(client, CHOICE)
        record, picture = (file if file.is_file() else None for file in (place / RECORD, place / PICTURE))
        models = {name: Path(weights.path) for name, weights in candidates(study, client).items()}
        found[client] = ChoiceFiles(record, picture, models)
    return {"choices": found, "candidates": {name: _called(study, name) for name in study.candidates}}


def _called(study: Study, name: str) -> str:
    """A candidate's method, as tables call it."""
    together = study.federates_source and name in VARIANTS
    return METHODS[TOGETHER[name] if together else name].name


def model_at_home(study: Study, client: str, done: Collection[str]) -> str:
    """The variant of its source model that a labelled client is to use: the one that its own validation labels score
    best, of those that it has trained; without such labels that of mild looks.

    At home mild looks lose nothing to speak of, and strong ones may: Dice on validation slices of the quickstart's
    cords 0.859 without varied looks, 0.866 with mild and 0.730 with strong ones (2026-11-30).

    Args:
        study: which has run.
        client: one of its sources.
        done: keys of the stages that are.
    """
    trained = [variant for variant in variants_at(study, client) if f"{client}/{variant}" in done]
    scores = {variant: _validated(study.place(client, variant) / METRICS) for variant in trained}
    if not scores or None in scores.values():
        return MILD if MILD in trained else SOURCE
    return max(scores, key=scores.__getitem__)


def _validated(table: Path) -> float | None:
    """The last Dice on validation volumes that a training has noted."""
    rows = read_table(table, "run its stage again with --resume") if table.is_file() else []
    noted = [row["validation_dice"] for row in rows if row.get("validation_dice")]
    return float(noted[-1]) if noted else None
