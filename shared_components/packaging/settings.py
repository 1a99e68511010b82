"""One config file per workflow, with the settings that the weights were trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv

from shared_components.errors import InputError
from shared_components.yaml_files import read_configs, read_values, references, texts, top_id

COMMON = "common.yaml"
WORKFLOWS = {  # name in the package -> config files of the bundle after common.yaml
    "train": ("train.yaml",),
    "pretrain": ("pretrain.yaml",),
    "synthesize": ("synthesize.yaml",),
    "inference": ("inference.yaml",),
    "evaluate": ("inference.yaml", "evaluate.yaml"),
}
RUN_IDS = frozenset(  # where and how one run was made; a package keeps the bundle's own values
    (
        *("bundle_root", "dataset_dir", "output_dir", "ckpt_path", "export_path", "scores_path"),
        *("source_model_path", "source_dir", "twin_dir", "factory_path", "discriminator_path"),
        *("features_path", "teacher_paths", "candidates", "shapes_paths", "margin", "partner", "most_slices"),
        *("device", "rank", "resume", "quiet", "initialize", "run", "finalize"),
    )
)

Overrides = str | Path | Mapping[str, Any] | Sequence[str | Path | Mapping[str, Any]] | None


def read_overrides(config: Overrides) -> list[dict[str, Any]]:
    """Settings of a training: config files, mappings, or a list of these, in the order in which they are merged.

    Ids that belong to one run (paths, device, steps; ``RUN_IDS``) are left out, so that the resolved config of a
    federation or of a stage will do.

    Raises:
        InputError: a file is missing or holds no mapping, or a value is a path of one machine.
    """
    if config is None:
        return []
    entries = [config] if isinstance(config, str | Path | Mapping) else list(config)
    found = [dict(entry) if isinstance(entry, Mapping) else _read(Path(entry)) for entry in entries]
    kept = [{key: value for key, value in o.items() if top_id(key) not in RUN_IDS} for o in found]
    for key, value in (pair for overrides in kept for pair in overrides.items()):
        absolute = next((text for text in texts(value) if text.startswith(("/", "~"))), None)
        if absolute is not None:
            raise InputError(
                f"--config: {key}: expected a value that holds on every machine, found the path {absolute}; "
                "leave it out"
            )
    return kept


def workflow_files(bundles: Path) -> list[Path]:
    """The config files of every bundle's workflows."""
    names = {COMMON, *(name for files in WORKFLOWS.values() for name in files)}
    return sorted(file for name in names for file in bundles.glob(f"*/configs/{name}"))


def merged_configs(folder: Path, overrides: Sequence[Mapping[str, Any]] = ()) -> dict[str, dict[str, Any]]:
    """Each workflow of a bundle as one config, with ``overrides`` merged where they belong.

    An override belongs to every workflow if its id stands in ``common.yaml`` or is new, else to those that have
    the id; and only where all that it refers to is known (a training's ``network: '@segmenter'`` is no
    network of inference).

    Args:
        folder: the bundle's ``configs``.
        overrides: as :func:`read_overrides` gives them.
    Raises:
        InputError: an override's id is in no config and nothing refers to it, or does not fit its place.
    """
    present = {name: files for name, files in WORKFLOWS.items() if (folder / files[-1]).is_file()}
    if not (folder / COMMON).is_file() or "inference" not in present:
        raise InputError(
            f"{folder}: expected {COMMON} and inference.yaml of a bundle; check the bundle's name"
        )
    common = set(ConfigParser.load_config_file(folder / COMMON))
    workflows = {
        name: ConfigParser(read_configs(folder / file for file in (COMMON, *files)))
        for name, files in present.items()
    }
    ids = {name: set(parser.get()) for name, parser in workflows.items()}
    new = {top_id(key) for override in overrides for key in override} - set().union(*ids.values())
    _refuse_unused(new, overrides, workflows)
    for name, parser in workflows.items():
        for key, value in (pair for override in overrides for pair in override.items()):
            belongs = top_id(key) in common | new | ids[name]
            if belongs and references(value) <= ids[name] | new:
                _merge(parser, key, value)
    return {name: parser.get() for name, parser in workflows.items()}


def as_json(config: Mapping[str, Any]) -> str:
    """A config as JSON, whose only keys are text: ``{0: background}`` becomes the expression of that mapping."""
    return json.dumps(_with_text_keys(config), indent=4, allow_nan=False) + "\n"


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _with_text_keys(child) for key, child in value.items()}
        return f"${dict(value)!r}"
    return [_with_text_keys(child) for child in value] if isinstance(value, list | tuple) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_values(path, "config")
    except InputError as error:
        raise InputError(f"--config: {error}") from error


def _refuse_unused(
    new: set[str], overrides: Sequence[Mapping], workflows: Mapping[str, ConfigParser]
) -> None:
    used = references(list(overrides)) | references([parser.get() for parser in workflows.values()])
    unused = sorted(new - used)
    if unused:
        raise InputError(
            f"--config: '{unused[0]}' is no id of the bundle's configs, and nothing refers to it; check its spelling"
        )


def _merge(parser: ConfigParser, key: str, value: Any) -> None:
    if key == "imports":  # those of a resolved config beside the workflow's own
        key, value = "+imports", [line for line in value if line not in parser["imports"]]
    try:
        merge_kv(parser, key, value)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"--config: '{key}' does not fit the bundle's configs; check its spelling"
        ) from error
