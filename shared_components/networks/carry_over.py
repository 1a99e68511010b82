"""Tensors of an earlier factory as those of one that may know more domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.weights import added_tensors

COPIES = ("generator", "generator_ema")  # of a factory file's one generator
IDS = {
    "size": "image_size",
    "encoding": "semantic_condition",
}  # what a config calls arguments of the generator
LATER = {"encoding": 0}  # arguments that files of earlier versions lack, with the values that they had
CURES = {"classes": "label_domains"}  # and those that follow from another id


def carried_over(
    tensors: Mapping[str, Tensor], description: Mapping[str, Any], *, network: nn.Module
) -> dict[str, Tensor]:
    """An earlier factory's tensors, by the names of ``network`` and in its shapes where it knows more domains.

    The generator draws the domains that it knew as before; a new one begins as the mean of their conditions. Of a run
    that exchanged the generator but not its average, the generator is taken for the average too.

    Args:
        tensors: name -> tensor: of a factory file, or of a network like this one, private or exchanged alike.
        description: of a factory file; empty for tensors of a network.
        network: a :class:`FactoryNetwork`.
    Raises:
        InputError: the factory file's generator is of other sizes.
    """
    if "generator" in description:
        _refuse_other_sizes(description["generator"], network.generator.arguments)
        tensors = {f"{copy}.{name}": tensor for copy in COPIES for name, tensor in tensors.items()}
    tensors = {**_average_from_generator(tensors), **tensors}
    present = {name.split(".", 1)[0] for name in tensors}
    added = {k: v for k, v in added_tensors(network).items() if k.split(".", 1)[0] in present}
    found = {**added, **tensors}
    for name, module in network.named_modules():
        if hasattr(module, "with_more_domains"):
            prefix = f"{name}." if name else ""
            own = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
            found |= {f"{prefix}{k}": v for k, v in module.with_more_domains(own).items()}
    return found


def _average_from_generator(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The average's names with the generator's tensors: an average as it was built would draw nothing."""
    trained, average = (f"{copy}." for copy in COPIES)
    return {average + k.removeprefix(trained): v for k, v in tensors.items() if k.startswith(trained)}


def _refuse_other_sizes(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    found = {**LATER, **found}
    for key, value in expected.items():
        if key != "domains" and key in found and found[key] != value:
            name = IDS.get(key, key)
            raise InputError(
                f"start: '{name}': expected {found[key]}, as the factory that it goes on from has it, found {value}; "
                f"set {CURES.get(key, name)} in 'overrides', or name another start"
            )
