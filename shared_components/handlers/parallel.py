"""One training by several processes, such as one per GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ignite.engine import Engine, Events
from torch import distributed, nn
from torch.optim import Optimizer


class SharedUpdates:
    """All processes start from the first one's weights and step with the mean of their gradients.

    So the batch is that of all processes together. Unlike ``DistributedDataParallel`` it needs no wrapped
    ``forward``, which a trainer of several networks, with penalties on gradients, does not go through. Every
    process must take its steps in the same order, and seed its random state differently.

    Args:
        network: everything that trains.
        optimizers: those that step.
    """

    def __init__(self, network: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self.network = network
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(average_gradients)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self.start_alike)

    def start_alike(self, engine: Engine | None = None) -> None:
        """Copy the first process's parameters and buffers to all."""
        for tensor in self.network.state_dict().values():
            distributed.broadcast(tensor, src=0)


@torch.no_grad()
def average_gradients(optimizer: Optimizer, *_: object) -> None:
    """Replace each gradient by its mean over all processes; one that no parameter has counts as absent."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in parameters])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad.copy_(part.view_as(parameter))
