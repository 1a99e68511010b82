"""Trainings with a third of their updates, for a first look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared_components.benchmarks.repository import BUNDLES
from shared_components.study.stage_parts import merged_config

PART = 3
LENGTHS = {"max_epochs", "phases"}  # ids of a section of a study that say how long a training takes
DEFAULTS = {  # section to the config that says how long it takes where the section does not
    "pretrain": ("max_epochs", ("common.yaml", "pretrain.yaml")),
    "train": ("phases", ("common.yaml", "train.yaml")),
    "self_training": ("phases", ("common.yaml", "train.yaml", "self_training.yaml")),
}
FACTORY = ("growth", "fade")  # ids of the factory's config that count updates


def shorter(values: Mapping[str, Any]) -> dict[str, Any]:
    """A federation file's content with a third of the rounds, epochs and updates."""
    configs = values.get("configs", ("common.yaml", "train.yaml"))
    factory = {key: _value("factory", configs, key) for key in FACTORY} | dict(values.get("overrides") or {})
    study = dict(values.get("study") or {})
    for section, (key, files) in DEFAULTS.items():
        study[section] = {key: _value("adaptation", files, key), **(study.get(section) or {})}
    together = study.get("federated_source")
    if together and "rounds" in together:
        study["federated_source"] = {**together, "rounds": _part(together["rounds"])}
    return {
        **values,
        "rounds": _part(values["rounds"]),
        "overrides": {**factory, **{key: _part(factory[key]) for key in FACTORY}},
        "study": {name: _section(section) for name, section in study.items()},
    }


def shorter_generalisation(values: Mapping[str, Any]) -> dict[str, Any]:
    """A third of the epochs of the segmentation bundle's training: the values that say so.

    Args:
        values: of its config; the warm-up and the moments of the teacher keep their shares of the whole.
    """
    return {
        "max_epochs": _part(values["max_epochs"]),
        "warm_up_epochs": _part(values["warm_up_epochs"]),
        "teacher_epochs": [1 + round((epoch - 1) / PART) for epoch in values["teacher_epochs"]],
    }


def _section(section: Any) -> Any:
    """A section of a study, with all that lies in it."""
    if not isinstance(section, Mapping):
        return section
    return {key: _part(value) if key in LENGTHS else _section(value) for key, value in section.items()}


def _part(value: Any) -> Any:
    """A third of a number, at least 1 if it was not 0, or of every number in a list or of a mapping's values."""
    if isinstance(value, Mapping):
        return {key: _part(one) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [_part(one) for one in value]
    return max(1, round(value / PART)) if value else value


def _value(bundle: str, configs: Sequence[str], key: str) -> Any:
    return merged_config(tuple(str(BUNDLES / bundle / "configs" / name) for name in configs))[key]
