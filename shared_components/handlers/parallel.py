"""One training by several processes, such as one per GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from shared_components.errors import InputError

CURE = "start over with resume: false"


class SharedUpdates:
    """All processes start from the first one's weights and step with the mean of their gradients.

    So the batch is that of all processes together, and batch norm's running statistics are the mean of theirs. A
    checkpoint keeps how many there are: fewer or more would go on with other batches. Unlike
    ``DistributedDataParallel`` it needs no wrapped ``forward``, which a trainer of several networks, with penalties on
    gradients, does not go through. Every process must take its steps in the same order, and seed its random state
    differently.

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
        if any(True for _ in self._statistics()):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.share_statistics)

    def start_alike(self, engine: Engine) -> None:
        """Copy the first process's parameters and buffers to all.

        Raises:
            InputError: the processes resume from checkpoints of different moments.
        """
        device = next(self.network.parameters()).device  # where NCCL wants it
        here = torch.tensor(engine.state.iteration, device=device)
        updates = [torch.zeros_like(here) for _ in range(distributed.get_world_size())]
        distributed.all_gather(updates, here)
        if len(set(map(int, updates))) > 1:
            found = ", ".join(f"{int(update)} of process {rank}" for rank, update in enumerate(updates))
            raise InputError(
                f"checkpoints: expected all processes' after one and the same update, found update {found}; {CURE}"
            )
        for tensor in self.network.state_dict().values():
            distributed.broadcast(tensor, src=0)

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Replace running means and variances of batch norm by their means over all processes."""
        for tensor in self._statistics():
            distributed.all_reduce(tensor)
            tensor.div_(distributed.get_world_size())

    def _statistics(self) -> Iterator[torch.Tensor]:
        for module in self.network.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                yield from (module.running_mean, module.running_var)

    def state_dict(self) -> dict[str, Any]:
        """The number of processes."""
        return {"processes": distributed.get_world_size()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare it.

        Raises:
            InputError: it was another.
        """
        found = distributed.get_world_size()
        if state["processes"] != found:
            raise InputError(
                f"checkpoints: expected as many processes as they are of ({state['processes']}), found {found}; "
                f"start as many, or {CURE}"
            )


@torch.no_grad()
def average_gradients(optimizer: Optimizer, *_: object) -> None:
    """Replace each gradient by its mean over all processes; one that no parameter has counts as absent."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in parameters])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad.copy_(part.view_as(parameter))
