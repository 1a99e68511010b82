"""Which tensors of a bundle's network are exchanged, and which stay at the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.federation.aggregators import FedAvg
from shared_components.tensors import names_below


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
