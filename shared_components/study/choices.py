"""What a study tells of the choices that clients without labels have made."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from shared_components.choice.client_choice import PICTURE, RECORD
from shared_components.records import read_table
from shared_components.study.candidate_names import SOURCE, VARIANTS
from shared_components.study.methods import METHODS
from shared_components.study.released import METRICS
from shared_components.study.source_model import TOGETHER, variants_at
from shared_components.study.study import CHOICE, Study
from shared_components.study_record import ChoiceFiles


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
        files = [file if file.is_file() else None for file in (place / RECORD, place / PICTURE)]
        found[client] = ChoiceFiles(*files)
    return {"choices": found, "candidates": {name: _called(study, name) for name in study.candidates}}


def _called(study: Study, name: str) -> str:
    """A candidate's method, as tables call it."""
    together = study.federates_source and name in VARIANTS
    return METHODS[f"{TOGETHER[name] if together else name}_predictions"].name


def model_at_home(study: Study, client: str, done: Collection[str]) -> str:
    """The variant of its source model that a labelled client is to use: the one that its own validation labels score
    best, of those that it has trained; without such labels the usual one.

    Args:
        study: which has run.
        client: one of its sources.
        done: keys of the stages that are.
    """
    trained = [variant for variant in variants_at(study, client) if f"{client}/{variant}" in done]
    scores = {variant: _validated(study.place(client, variant) / METRICS) for variant in trained}
    if not scores or None in scores.values():
        return SOURCE
    return max(scores, key=scores.__getitem__)


def _validated(table: Path) -> float | None:
    """The last Dice on validation volumes that a training has noted."""
    rows = read_table(table, "run its stage again with --resume") if table.is_file() else []
    noted = [row["validation_dice"] for row in rows if row.get("validation_dice")]
    return float(noted[-1]) if noted else None
