"""The global weights of round 0: those with which the first client was built, or those of a start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.run_settings import bundle_config
from shared_components.federation.start import KEPT, Start, read_start, refuse_other_meaning
from shared_components.tensors import misfit

CarryOver = Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Tensor]]
HOOK = "federation::start"
"""Id of a bundle's config: called with the tensors and the description of a start, it gives the network's tensors."""

LABELLED = "label_domains"


def start_of(federation: Federation) -> Start | None:
    """What a federation goes on from; None if it begins anew.

    Raises:
        InputError: see :func:`read_start`.
    """
    return None if federation.start is None else read_start(federation.start, Path(federation.bundle).name)


def first_weights(federation: Federation, start: Start, built: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a start, as those of round 0.

    A module of the network of which the start knows nothing, such as a discriminator that an exported factory has
    not, is as it was built. Where the bundle draws label maps (``label_domains``), the labels must be the start's too.

    Args:
        federation: that goes on.
        start: from which it does.
        built: the exchanged tensors of a client as it was built, or their layout: name -> tensor.
    Raises:
        InputError: domains, a setting or a tensor does not fit; the message names it.
    """
    parser = ConfigParser(bundle_config(federation))
    parser.update(federation.client_overrides(next(iter(federation.clients))))
    drawn = ["labels"] if LABELLED in parser and parser.get_parsed_content(LABELLED) else []
    kept = {id: parser.get_parsed_content(id) for id in (*KEPT, *drawn) if id in parser}
    refuse_other_meaning(start, list(federation.domains), kept)
    with torch.random.fork_rng(devices=[]):
        return weights_of(start, carry_over_of(parser, federation.bundle), built)


def weights_of(start: Start, carry_over: CarryOver | None, built: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a start by the names and in the shapes of ``built``, of which a module that it has not is taken.

    Raises:
        InputError: a tensor does not fit; the message names it.
    """
    found = carry_over(start.weights, start.description) if carry_over else dict(start.weights)
    return _fitted(built, {name: tensor.cpu() for name, tensor in found.items()}, start.name)


def carry_over_of(parser: ConfigParser, bundle_root: str) -> CarryOver | None:
    """What a bundle's config says of going on; None if it says nothing."""
    if bundle_root not in sys.path:
        sys.path.insert(1, bundle_root)
    return parser.get_parsed_content(HOOK) if HOOK in parser else None


def start_problems(federation: Federation, layout: Mapping[str, Tensor]) -> list[str]:
    """What keeps a federation from going on from its start, given the layout of what it exchanges."""
    try:
        start = start_of(federation)
        if start is not None:
            first_weights(federation, start, layout)
    except InputError as error:
        return [str(error)]
    return []


def _fitted(built: Mapping[str, Tensor], found: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    known = {_module(name) for name in found}
    taken = {name: found[name] for name in built if name in found}
    expected = {name: tensor for name, tensor in built.items() if _module(name) in known}
    if not expected:
        raise InputError(
            f"{place}: expected weights of {', '.join(sorted({_module(name) for name in built}))}, found "
            f"{', '.join(sorted(known)[:8]) or 'none'}; name a start of this bundle"
        )
    fault = misfit(expected, taken)
    if fault:
        raise InputError(
            f"{place}: its weights do not fit this federation ({fault}); set the sizes of the networks and image_size "
            "in 'overrides' to those of the start, or name another start"
        )
    return {name: taken[name].to(tensor.dtype) if name in taken else tensor for name, tensor in built.items()}


def _module(name: str) -> str:
    """The child module of the network that a tensor is of."""
    return name.split(".", 1)[0]
