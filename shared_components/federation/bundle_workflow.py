"""A bundle's training workflow, built here and run by somebody else; what of its network is exchanged, what stays."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import Tensor, nn

from shared_components.config_parsers import with_known_components
from shared_components.errors import InputError
from shared_components.federation.aggregators import FedAvg
from shared_components.federation.federation import Federation
from shared_components.hyper_parameters import check_values, has_our_values
from shared_components.tensors import names_below
from shared_components.yaml_files import read_configs

EXPORT = "federation::export"
"""Id of a bundle's config: writes the federation's deliverable from the global weights in the network."""
LABELLED = "label_domains"
"""Id of the config of a bundle that reads no label unless it names domains whose labels are read."""
CHOSEN = "slices_per_volume"
"""Id of a bundle's config: of each volume so many slices are taken, those that somebody annotated first."""


def bundle_config(federation: Federation) -> dict[str, Any]:
    """The bundle's merged config with the federation's overrides, before any client's own values."""
    parser = ConfigParser(read_configs(federation.config_files))
    parser.update(dict(federation.overrides))
    return {k: v for k, v in parser.get().items() if k != parser.meta_key}


def reads_labels(config: Mapping[str, Any]) -> bool:
    """Whether a training by a bundle's merged config depends on labels."""
    parser = ConfigParser(dict(config))
    if LABELLED not in parser:
        return True
    return any(id in parser and parser.get_parsed_content(id) for id in (LABELLED, CHOSEN))


def build_workflow(
    bundle_root: str, config_files: Sequence[str], overrides: Mapping[str, Any]
) -> ConfigWorkflow:
    """The bundle's training workflow, initialised (which seeds) but not run.

    As with ``python -m monai.bundle run``, the bundle's folder joins Python's search path (it may hold modules).

    Raises:
        InputError: a hyper-parameter is not what it may be.
    """
    if bundle_root not in sys.path:
        sys.path.insert(1, bundle_root)
    with without_remarks():
        workflow = ConfigWorkflow(list(config_files), logging_file=False, workflow_type="train", **overrides)
    if has_our_values(workflow.parser.get()):
        check_values(workflow.parser.get())
    with_known_components(workflow.parser)
    workflow.initialize()
    return workflow


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Leave out what MONAI says of every bundle that it runs, here of configs that the user has chosen.

    That a config can run code (the README says so), that optional files are missing, and that logging is left alone.
    """
    log = logging.getLogger("monai.bundle.workflows")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="parsing config_file")
            yield
    finally:
        log.setLevel(level)


@dataclass(frozen=True)
class Layout:
    """Tensors of a network without their values.

    Attributes:
        shared: name -> tensor on torch's device ``meta``, exchanged.
        private: name -> tensor, which never leave the client.
    """

    shared: dict[str, Tensor]
    private: dict[str, Tensor]


def shared_names(
    network: nn.Module, modules: Sequence[str], aggregator: FedAvg, bundle_root: str
) -> list[str]:
    """Names in the state of ``network`` that are exchanged, in its order.

    Args:
        network: the trainer's.
        modules: names of its child modules, or of single tensors, to exchange; an empty name is the whole network.
        aggregator: the federation's, which may keep tensors at the client.
        bundle_root: for the message.
    Raises:
        InputError: a module holds no tensor, or the aggregator does not suit the network.
    """
    tensors = network.state_dict()
    names: set[str] = set()
    for module in modules:
        found = names_below(tensors, module)
        if not found:
            children = ", ".join(name for name, _ in network.named_children())
            raise InputError(
                f"{bundle_root}: federation::shared names '{module}', which holds no tensor of the "
                f"trainer's network; its modules are {children}"
            )
        names.update(found)
    names -= aggregator.private_names(network)
    return [name for name in tensors if name in names]


def check_export(
    parser: ConfigParser, network: nn.Module, shared: Collection[str], aggregator: FedAvg, bundle_root: str
) -> None:
    """Refuse an export of tensors that the network keeps private: whoever gets the file would get one client's own,
    neither averaged nor clipped nor disturbed.

    Of a bundle that exports by a component with ``_mode_: callable``, the modules are looked at that it is given.

    Args:
        parser: of the bundle's config, whose network is built.
        network: the trainer's.
        shared: names of its exchanged tensors.
        aggregator: the federation's; where it leaves each client a model of its own, nothing is refused.
        bundle_root: for the message.
    Raises:
        InputError: a private tensor would be exported.
    """
    section = parser.get(EXPORT)
    if aggregator.personal or not isinstance(section, dict) or section.get("_mode_") != "callable":
        return
    given = parser.get_parsed_content(EXPORT).keywords.values()
    modules = [module for module in given if isinstance(module, nn.Module)]
    written = {id(tensor) for module in modules for tensor in module.state_dict(keep_vars=True).values()}
    private = {
        name: tensor for name, tensor in network.state_dict(keep_vars=True).items() if name not in shared
    }
    found = next((name for name, tensor in private.items() if id(tensor) in written), None)
    if found is not None:
        raise InputError(
            f"{bundle_root}: {EXPORT} writes '{found}', which federation::shared keeps at each client: everybody "
            f"would get one client's own, unprotected; add '{found.split('.')[0]}' to federation::shared, or let "
            f"{EXPORT} take a module that is exchanged"
        )


def layout_of(network: nn.Module, modules: Sequence[str], aggregator: FedAvg, bundle_root: str) -> Layout:
    """What of ``network`` is exchanged and what stays; see :func:`shared_names`."""
    shared = set(shared_names(network, modules, aggregator, bundle_root))
    empty = {
        name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        for name, tensor in network.state_dict().items()
    }
    return Layout(
        {name: tensor for name, tensor in empty.items() if name in shared},
        {name: tensor for name, tensor in empty.items() if name not in shared},
    )
