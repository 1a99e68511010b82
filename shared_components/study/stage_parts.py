"""What the stages of a study have in common: how one is put together, and which settings it takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.errors import InputError, meant, shown
from shared_components.federation.file_digests import TRAINED_ON
from shared_components.study.settings import SECTIONS
from shared_components.study.stage import Stage
from shared_components.study.study import EVERYBODY, Study
from shared_components.yaml_files import read_configs

SECTION_OF = {  # the section of the federation file that overrides a stage; any other stage segments
    "source_model": "pretrain",
    "source_only": "pretrain",
    "source_mild": "pretrain",
    "joint_source": "pretrain",
    "synthetic": "synthesize",
    "adaptation": "train",
    "self_trained": "self_training",
    "self_trained_near": "self_training",
    "self_trained_all": "self_training",
    "generalisation": "generalisation",
    "audit": "audit",  # no section: it takes what the factory was trained with
    "shapes": "shapes",  # no section either, nor
    "choice": "choice",
}


def make_stage(
    study: Study,
    client: str,
    name: str,
    configs: Sequence[str],
    own: Mapping[str, Any],
    needs: Sequence[str] = (),
    reads: Sequence[str] = (),
    bundle: str | None = None,
) -> Stage:
    """A stage with the settings that all have, as far as its config knows them, and its own.

    Args:
        study: whose stage it is.
        client: a client, an unseen scanner, or EVERYBODY, whose stages read no data root.
        name: of the stage.
        configs: config files of the bundle after ``common.yaml``.
        own: ids and values of this stage, merged last.
        needs: keys of the stages that must be done before.
        reads: files that it depends on beside the client's ``dataset.json`` and its images and labels.
        bundle: the bundle's folder; None: the adaptation's.
    Raises:
        InputError: the bundle lacks a config file.
    """
    bundle, configs = bundle or study.adaptation, ("common.yaml", *configs)
    data = None if client == EVERYBODY else study.data(client)
    overrides = {
        **known(study.agreed, bundle, configs),
        **({} if data is None else {"dataset_dir": data.dataset_dir}),
        **known(study.section("overrides"), bundle, configs),
        **own,
    }
    splits = TRAINED_ON if name in SECTION_OF else ("test",)
    files = (*(() if data is None else (*data.files, *data.paths(splits))), *reads)
    return Stage(client, name, bundle, configs, overrides, study.place(client, name), tuple(needs), files)


def inference_configs(study: Study, client: str) -> tuple[str, ...]:
    """Config files that segment, and score where the test volumes have labels."""
    return ("inference.yaml", "evaluate.yaml") if study.is_scored(client) else ("inference.yaml",)


def model_path(study: Study, client: str, stage: str) -> str:
    """The model that a stage trains."""
    return str(study.place(client, stage) / "model.pt")


def synthetic_root(study: Study, domain: str, drawn_at: str | None = None) -> str:
    """The data root of the synthetic volumes in a domain's look; by default of those that the source draws."""
    return str(study.place(drawn_at or study.source, "synthetic") / domain)


def known(values: Mapping[str, Any], bundle: str, configs: Sequence[str]) -> dict[str, Any]:
    """Those of ``values`` that are ids of a bundle's config files."""
    parser = merged_config(tuple(str(Path(bundle) / "configs" / name) for name in configs))
    return {key: value for key, value in values.items() if key in parser}


@lru_cache(maxsize=32)
def merged_config(files: tuple[str, ...]) -> ConfigParser:
    """Config files merged in order, for looking up ids.

    Raises:
        InputError: one is missing, or cannot be read.
    """
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise InputError(f"study: expected a bundle with {missing[0]}, found no such file; check the bundle")
    return ConfigParser(read_configs(files))


def check_overrides(study: Study, stages: Sequence[Stage]) -> None:
    """MONAI takes an override of an unknown id in silence, so misspelt ones are found here.

    Raises:
        InputError: every id that no stage of its section has.
    """
    configs = [
        (SECTION_OF.get(stage.name, "inference"), merged_config(tuple(stage.config_files)))
        for stage in stages
    ]
    faults = []
    for section in SECTIONS:
        parsers = [parser for name, parser in configs if section in ("overrides", name)]
        for key in study.section(section):
            if parsers and not (key and any(key in parser for parser in parsers)):
                ids = sorted({str(name) for parser in parsers for name in parser.get()})
                faults.append(
                    f"study: {section}: {shown(key)} is no id of the bundle's config{meant(key, ids)}"
                )
    if faults:
        raise InputError("; ".join(faults))
