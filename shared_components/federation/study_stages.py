"""Which stages a study has after the factory, for each client by the labels it has."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.errors import InputError
from shared_components.federation.stages import Stage
from shared_components.federation.study import SECTIONS, Study

METHODS = {  # stages whose segmentations are compared, in the order of the report's table: ours is the last
    "source_only_predictions": "source-only U-Net",
    "source_model_predictions": "augmented U-Net",
    "self_trained_predictions": "augmented U-Net, self-trained",
    "adaptation_predictions": "adaptation",
}
ORDER = ("source_model", "synthetic", "source_only", "adaptation", "self_trained")  # then the predictions


def study_stages(study: Study) -> list[Stage]:
    """All stages after the factory, long ones and those that others wait for first.

    Raises:
        InputError: the ``study`` section overrides ids that no stage has.
    """
    stages = [stage for client in study.sources for stage in _source_stages(study, client)]
    stages += [stage for client in study.targets for stage in _target_stages(study, client)]
    _check_overrides(study, stages)
    rank = {name: place for place, name in enumerate(ORDER)}
    return sorted(stages, key=lambda stage: rank.get(stage.name, len(rank)))


def _source_stages(study: Study, client: str) -> Iterator[Stage]:
    yield _pretraining(study, client, "source_model")
    yield from _segmenting(study, client, "source_model", client)
    if client == study.source and study.targets:
        yield _synthesis(study)
        if study.baselines and any(study.is_scored(target) for target in study.targets):
            yield _pretraining(study, client, "source_only", strong_augmentation=False)


def _target_stages(study: Study, client: str) -> Iterator[Stage]:
    yield _adaptation(study, client)
    yield from _segmenting(study, client, "adaptation", client)
    if study.baselines and study.is_scored(client):
        yield _self_training(study, client)
        yield from _segmenting(study, client, "self_trained", client)
        yield from _segmenting(study, client, "source_model", study.source)
        yield from _segmenting(study, client, "source_only", study.source)


def _pretraining(study: Study, client: str, name: str, **fixed: Any) -> Stage:
    validate = {} if study.roots[client].items("validation", labelled=True) else {"validate_every": 0}
    own = {"quiet": True, **validate, **study.section("pretrain"), **fixed}
    return _stage(study, client, name, ("pretrain.yaml",), {**own, "ckpt_path": _model(study, client, name)})


def _synthesis(study: Study) -> Stage:
    client = study.source
    own = {
        "factory_path": str(study.factory),
        "source_model_path": _model(study, client, "source_model"),
        "source_domain": _domain(study, client),
        "progress": False,
    }
    return _stage(
        study,
        client,
        "synthetic",
        ("synthesize.yaml",),
        {**own, **study.section("synthesize")},
        needs=(f"{client}/source_model",),
        reads=(str(study.factory),),
    )


def _adaptation(study: Study, client: str) -> Stage:
    source, synthetic = study.source, study.place(study.source, "synthetic")
    own = {
        "source_model_path": _model(study, source, "source_model"),
        "source_dir": str(synthetic / _domain(study, source)),
        "twin_dir": str(synthetic / _domain(study, client)),
        "ckpt_path": _model(study, client, "adaptation"),
        "quiet": True,
    }
    needs = (f"{source}/source_model", f"{source}/synthetic")
    return _stage(study, client, "adaptation", ("train.yaml",), {**own, **study.section("train")}, needs)


def _self_training(study: Study, client: str) -> Stage:
    own = {
        "source_model_path": _model(study, study.source, "source_model"),
        "ckpt_path": _model(study, client, "self_trained"),
        "quiet": True,
        **study.section("self_training"),
    }
    needs = (f"{study.source}/source_model",)
    return _stage(study, client, "self_trained", ("train.yaml", "self_training.yaml"), own, needs)


def _segmenting(study: Study, client: str, model: str, owner: str) -> Iterator[Stage]:
    """Segment a client's test volumes with a model; score them where the test volumes have labels."""
    if study.roots[client].items("test"):
        own = {"ckpt_path": _model(study, owner, model), **study.section("inference")}
        configs = ("inference.yaml", "evaluate.yaml") if study.is_scored(client) else ("inference.yaml",)
        yield _stage(study, client, f"{model}_predictions", configs, own, needs=(f"{owner}/{model}",))


def _stage(
    study: Study,
    client: str,
    name: str,
    configs: Sequence[str],
    own: dict[str, Any],
    needs: Sequence[str] = (),
    reads: Sequence[str] = (),
) -> Stage:
    root = study.federation.clients[client].data_root
    return Stage(
        client=client,
        name=name,
        bundle=study.adaptation,
        configs=("common.yaml", *configs),
        overrides={**study.agreed, "dataset_dir": root, **study.section("overrides"), **own},
        folder=study.place(client, name),
        needs=tuple(needs),
        reads=(os.path.join(root, "dataset.json"), *reads),
    )


def _model(study: Study, client: str, stage: str) -> str:
    return str(study.place(client, stage) / "model.pt")


def _domain(study: Study, client: str) -> str:
    return study.federation.clients[client].domain


SECTION_OF = {  # the section of the federation file that overrides a stage
    "source_model": "pretrain",
    "source_only": "pretrain",
    "synthetic": "synthesize",
    "adaptation": "train",
    "self_trained": "self_training",
    **dict.fromkeys(METHODS, "inference"),
}


def _check_overrides(study: Study, stages: Sequence[Stage]) -> None:
    """MONAI takes an override of an unknown id in silence, so misspelt ones are found here."""
    configs: dict[str, ConfigParser] = {}
    for stage in stages:
        missing = [file for file in stage.config_files if not Path(file).is_file()]
        if missing:
            raise InputError(f"study: adaptation: expected a bundle with {missing[0]}, found no such file")
        if SECTION_OF[stage.name] not in configs:
            configs[SECTION_OF[stage.name]] = ConfigParser(ConfigParser.load_config_files(stage.config_files))
    faults = []
    for section in SECTIONS:
        parsers = list(configs.values()) if section == "overrides" else [configs.get(section)]
        known = [parser for parser in parsers if parser is not None]
        for key in study.section(section):
            if known and not any(key in parser for parser in known):
                ids = sorted({str(name) for parser in known for name in parser.get()})
                near = difflib.get_close_matches(str(key), ids, n=1)
                hint = f" (did you mean '{near[0]}'?)" if near else ""
                faults.append(f"study: {section}: '{key}' is no id of the bundle's config{hint}")
    if faults:
        raise InputError("; ".join(faults))
