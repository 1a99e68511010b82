"""Weights in a package: those that fit its config, as ``model.pt`` and as TorchScript, ``model.ts``."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.data import save_net_with_metadata
from monai.networks import convert_to_torchscript

from shared_components.config_parsers import with_known_components
from shared_components.errors import InputError, input_error_in
from shared_components.files import load_tensors, save_tensors
from shared_components.networks.ensemble import members_of
from shared_components.networks.factory import export_generator, factory_description, load_generator
from shared_components.networks.weights import check_description, with_weights
from shared_components.packaging.archive import rewrite_zip

ENSEMBLE = "shared_components.networks.ensemble.Ensemble"


def write_weights(config: Mapping[str, Any], source: Path, target: Path) -> None:
    """Check that weights fit the inference config and write them as the package's ``model.pt``.

    A segmentation network's file is the bare state dict that ``monai.bundle.load`` and ``ckpt_export`` read; a
    factory's keeps its description, from which the generator is rebuilt.

    Raises:
        InputError: the file is none of weights, does not fit the configured network, or says that it was
            trained with other domains, labels, spacing or orientation.
    """
    if is_factory(config):
        _write_factory(config, source, target)
        return
    network = with_weights(parsed(config, "network_def"), source)
    _require_same(source, load_tensors(source).get("description"), config)
    save_tensors(target, {name: tensor.detach().clone() for name, tensor in network.state_dict().items()})


def write_torchscript(package: Path) -> None:
    """``models/model.ts`` of a package as ``monai.bundle ckpt_export`` would write it, less one part.

    Its metadata and inference config are in it, which is what MONAI Deploy reads. TorchScript also stores where each
    line of source lay on this machine; that is left out, since only messages of errors use it.
    """
    file, config = package / "models" / "model.ts", package / "configs" / "inference.json"
    content = json.loads(config.read_text("utf-8"))
    if is_factory(content):  # the network that inference runs seeds its noise by the latent
        network = parsed(content, "drawer_def", bundle_root=str(package))
    else:
        network = with_weights(parsed(content, "network_def"), file.with_suffix(".pt"))
    save_net_with_metadata(
        convert_to_torchscript(network),
        str(file),
        include_config_vals=False,
        meta_values=json.loads((config.parent / "metadata.json").read_text("utf-8")),
        more_extra_files={config.name: config.read_bytes()},
    )
    rewrite_zip(file, lambda name: not name.endswith(".debug_pkl"))


def for_members(config: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """An inference config whose ``network_def`` is as many networks as answer together with a file's weights.

    Raises:
        InputError: the file is missing or damaged.
    """
    count = 1 if is_factory(config) else members_of(source)
    if count == 1:
        return dict(config)
    networks = [copy.deepcopy(config["network_def"]) for _ in range(count)]
    return {**config, "network_def": {"_target_": ENSEMBLE, "networks": networks}}


def of_trained_domains(config: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """A config whose domains are those that the weights were trained on, where one of its own was held out.

    Raises:
        InputError: the file is missing or damaged.
    """
    if "held_out" not in config:
        return dict(config)
    description = load_tensors(source).get("description")
    trained = description.get("domains") if isinstance(description, Mapping) else None
    if not trained or not set(trained) <= set(config["domains"]):
        return dict(config)  # told as any other setting that does not fit
    return {**config, "domains": list(trained), "held_out": None}


def is_factory(config: Mapping[str, Any]) -> bool:
    """Whether an inference config is that of an image factory, which segments nothing."""
    return "generator_def" in config


def parsed(config: Mapping[str, Any], *ids: str, **values: Any) -> Any:
    """What an id of a config stands for (of several, a list), with ``values`` in place of the config's.

    Raises:
        InputError: what the config builds says that a value is wrong.
    """
    parser = with_known_components(ConfigParser(copy.deepcopy(dict(config))))
    parser.update(values)
    try:
        found = [parser.get_parsed_content(id) for id in ids]
    except RuntimeError as error:  # MONAI's wrapping of what an expression or a component raises
        fault = input_error_in(error)
        if fault is None:
            raise
        raise fault from error
    return found[0] if len(ids) == 1 else found


def _write_factory(config: Mapping[str, Any], source: Path, target: Path) -> None:
    description = factory_description(source)
    wanted = dict(parsed(config, "generator_def").arguments)
    generator = load_generator(source)
    found = generator.arguments  # with those that files of earlier versions lack
    different = [name for name in wanted if wanted[name] != found[name]]
    if different:
        name = different[0]
        raise InputError(
            f"{source}: its weights do not fit the configured generator ({name}: expected {wanted[name]}, "
            f"found {found[name]}); give the settings of its training with --config"
        )
    _require_same(source, description, config)
    parsed(config, "network_def", ckpt_path=str(source))  # builds what the domain names, or says why not
    meaning = {name: description[name] for name in ("domains", "labels", "spacing", "orientation")}
    export_generator(generator, target, **meaning, percentiles=description.get("percentiles"))


def _require_same(source: Path, description: Any, config: Mapping[str, Any]) -> None:
    """What the weights say of their training against the config."""
    ids = {name: name for name in ("domains", "labels", "spacing", "orientation")}
    if "source_domains" in config:
        ids["domains"] = "source_domains"
    settings = {name: parsed(config, id) for name, id in ids.items()}
    cure = "give the settings of its training with --config"
    check_description(source, description, settings, "the package's config has", cure)
