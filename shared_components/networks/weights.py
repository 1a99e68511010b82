"""Segmentation weights as files: what a client hands on, and how another starts from it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors
from shared_components.tensors import misfit


def export_model(
    network: nn.Module, path: str | os.PathLike, description: Mapping[str, Any] | None = None
) -> Path:
    """Write ``{"model": weights, "description": …}``, on the CPU, in one step.

    Args:
        network: whose weights are written.
        path: the file.
        description: plain values that say what the weights are for.
    Raises:
        InputError: the weights are not finite, or the file cannot be written; the old file stays.
    """
    state = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    save_tensors(path, {"model": state, "description": dict(description or {})})
    return Path(path)


def is_state_dict(content: Mapping[str, Any]) -> bool:
    """Whether a file's content is tensors by name alone, with nothing around them."""
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def read_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """Named tensors of a file of others: ``.safetensors``, or a state dict as ``torch.save`` writes it.

    A state dict may stand alone or under ``model`` or ``state_dict``; a leading ``module.`` is cut off.

    Raises:
        InputError: the file is missing, damaged or holds no state dict.
    """
    content = _safetensors(Path(path)) if Path(path).suffix == ".safetensors" else load_tensors(path)
    found = (content, content.get("model"), content.get("state_dict"))
    weights = next((each for each in found if isinstance(each, dict) and is_state_dict(each)), None)
    if weights is None:
        raise InputError(
            f"{path}: expected named tensors, alone or under 'model' or 'state_dict', found "
            f"{sorted(map(str, content))[:8]}; name a file of weights"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in weights.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise InputError(
            f"{path}: the package safetensors is not installed; pip install safetensors, or give a file of torch.save"
        ) from error
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected a file of safetensors, found {error}; copy it again") from error


MEMBER = re.compile(r"networks\.(\d+)\.")  # how the names of an ensemble's weights begin
AS_TRAINED = "merge the config file of its training last (--config_file), or set that value"
"""The cure where weights were trained otherwise than a config says."""


def with_weights(
    network: nn.Module,
    path: str | os.PathLike | None,
    key: str = "model",
    prefix: str = "",
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Load a file's weights into ``network``, strictly, and return it; ``path`` None leaves it as built.

    Args:
        network: the module to fill.
        path: file written by ``torch.save``: weights under ``key``, or a bare state dict as the model zoo has it.
        key: entry that holds the weights.
        prefix: leading part of the names that are wanted, such as ``"discriminator."``; it is cut off.
        settings: name to value, such as ``labels`` and ``spacing``: what the file says of its training must not be
            something else; a bare state dict says nothing.
    Raises:
        InputError: the file is missing, its weights do not fit, or it was trained with other settings.
    """
    if path is None:
        return network
    content = load_tensors(path)
    check_description(path, content.get("description"), settings or {}, "this config has", AS_TRAINED)
    weights = content if is_state_dict(content) else content.get(key)
    if not isinstance(weights, dict):
        raise InputError(
            f"{path}: expected weights under '{key}', found {sorted(map(str, content))[:8]}; check the path"
        )
    if prefix:
        weights = {n[len(prefix) :]: tensor for n, tensor in weights.items() if str(n).startswith(prefix)}
    return filled(network, weights, path)


def filled(
    network: nn.Module, weights: Any, path: str | os.PathLike, plan: str = "the configured network"
) -> nn.Module:
    """Load named tensors into ``network``, strictly, and return it; every reader of weights comes through here.

    Args:
        network: the module to fill.
        weights: what a file holds in the place of its ``state_dict``.
        path: the file, for the message.
        plan: what ``network`` was built from, for the message.
    Raises:
        InputError: names, shapes or types differ (see :func:`~shared_components.tensors.misfit`), or values are
            NaN or infinite.
    """
    if isinstance(weights, Mapping):
        weights = {**added_tensors(network), **weights}
    refuse_misfit(network.state_dict(), weights, path, plan)
    network.load_state_dict(weights, strict=True)
    return network


def refuse_misfit(expected: Mapping[str, Tensor], weights: Any, path: str | os.PathLike, plan: str) -> None:
    """Refuse weights that a network cannot take.

    Args:
        expected: the network's ``state_dict``; of tensors without values too.
        weights: what a file holds in its place.
        path: the file, for the message.
        plan: what the network is built from, for the message.
    Raises:
        InputError: as :func:`filled`.
    """
    fault = misfit(expected, weights) if isinstance(weights, Mapping) else "no named tensors"
    if fault and (members := members_in(weights)) > members_in(expected):
        raise InputError(
            f"{path}: holds {members} models that answer together, where one is wanted; name one of the models that "
            "they were made of"
        )
    if fault:
        raise InputError(
            f"{path}: its weights do not fit {plan} ({fault}); use a file as training wrote it, "
            "with the network (its channels and norms), labels, domains and image_size of that training"
        )


def members_in(weights: Any) -> int:
    """How many networks answer together with some weights, by their names (:class:`.ensemble.Ensemble`)."""
    names = weights if isinstance(weights, Mapping) else ()
    return max(1, len({found[1] for name in names if (found := MEMBER.match(str(name)))}))


def added_tensors(network: nn.Module) -> dict[str, Tensor]:
    """What files of earlier versions lack, by name: the modules that have gained a tensor say what it was."""
    return {
        f"{name}.{tensor}" if name else tensor: value
        for name, module in network.named_modules()
        if hasattr(module, "added_tensors")
        for tensor, value in module.added_tensors().items()
    }


def check_description(
    path: str | os.PathLike, description: Any, settings: Mapping[str, Any], whose: str, cure: str
) -> None:
    """Refuse weights that say of their training something else than the settings with which they are to be used.

    Args:
        path: their file, for the message.
        description: what it says; anything but a table says nothing.
        settings: name to value, such as ``labels``, ``spacing`` and ``orientation``.
        whose: whose the settings are, for the message.
        cure: what to do about it.
    Raises:
        InputError: naming the first difference.
    """
    for name, value in settings.items() if isinstance(description, Mapping) else ():
        found, wanted = as_compared(description.get(name, value)), as_compared(value)
        if found != wanted:
            raise InputError(f"{path}: trained with {name} {found}, but {whose} {wanted}; {cure}")


def as_compared(value: Any) -> Any:
    """Values as they compare, whether a config or a file holds them: a number that stands twice counts once."""
    if isinstance(value, Mapping):
        return {int(key) if str(key).isdecimal() else key: str(child) for key, child in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if not all(isinstance(child, int | float) for child in value):
        return [str(child) for child in value]
    return value[0] if len(set(value)) == 1 else list(value)
