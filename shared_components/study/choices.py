"""What a study tells of the choices that clients without labels have made."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from shared_components.study.candidate_names import VARIANTS
from shared_components.study.methods import METHODS
from shared_components.study.released import CHOICE as RECORD
from shared_components.study.source_model import TOGETHER
from shared_components.study.study import CHOICE, Study

PICTURE = "choice.png"


def choices(study: Study, done: Collection[str]) -> dict[str, Any]:
    """Parts of ``study.json``: each client's record of its choice, and what candidates are called; paths are from
    the study's folder.

    Args:
        study: which has run.
        done: keys of the stages that are.
    """
    if not study.chooses:
        return {}
    found = {}
    for client in (name for name in study.targets if f"{name}/{CHOICE}" in done):
        place = study.place(client, CHOICE)
        files = {"record": place / RECORD, "picture": place / PICTURE}
        found[client] = {
            what: str(file.relative_to(study.folder)) for what, file in files.items() if file.is_file()
        }
    return {"choices": found, "candidates": {name: _called(study, name) for name in study.candidates}}


def _called(study: Study, name: str) -> str:
    """A candidate's method, as tables call it."""
    together = study.federates_source and name in VARIANTS
    return METHODS[f"{TOGETHER[name] if together else name}_predictions"].name
