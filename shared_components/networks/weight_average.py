"""Running averages of weights over updates, which do not swing from one update to the next as the weights do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from shared_components.errors import InputError

_BEGINNING = 9  # updates; after n of them the average forgets as n / (n + 9) at most


class WeightAverage(AveragedModel):
    """torch's ``AveragedModel`` with a decay that starts at 0 and rises, so that a short training is averaged rightly.

    The n-th update (from 0) has the decay min(``decay``, n / (n + 9)): the first one copies, and the weights of the
    beginning do not linger. No value is read from the device. Its own counter n is a buffer, which a federation may
    keep as it was (one that protects updates by noise does): what it is told of the trainer's updates counts then.

    Args:
        network: what is averaged, parameters and buffers.
        decay: over updates, from 0 (the average is the network as it is) to below 1.
    Raises:
        InputError: a decay that is none.
    Attributes:
        module: the averaged network, which asks for no gradient.
    Source: Tarvainen and Valpola 2017, Sec. 3 (a decay that rises); Cha et al. 2021 (SWAD): an average over updates
        carries further beyond the source domains than any one of them.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise InputError(
                f"average: expected a decay from 0 (no averaging) to below 1 (never moves), found {decay}"
            )
        super().__init__(network, use_buffers=True)
        self.decay = decay
        self.requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module, before: int = 0) -> None:
        """Move towards the weights of ``model``; once an update.

        Args:
            model: of the averaged one's layout.
            before: so many updates of it have been made before by the trainer's own count; n is no less.
        """
        means, values = [], []
        for mean, value in zip(_tensors(self.module), _tensors(model), strict=True):
            if mean.is_floating_point():
                means.append(mean)
                values.append(value)
            else:
                mean.copy_(value)
        number = self.n_averaged.clamp(min=before).to(means[0].dtype)
        decay = (number / (number + _BEGINNING)).clamp(max=self.decay)
        behind = torch._foreach_sub(values, means)
        torch._foreach_mul_(behind, decay)
        torch._foreach_copy_(means, torch._foreach_sub(values, behind))
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


class AveragedNetwork(nn.Module):
    """A network that trains, and the running average of its weights, which is what is kept of it.

    Children: ``trained``, and ``average``, a :class:`WeightAverage`.

    Args:
        network: image (B, 1, H, W) to class scores (B, C, H, W).
        average: decay of the average over updates; 0: none is made.
    Raises:
        InputError: a decay that is none.
    """

    def __init__(self, network: nn.Module, average: float = 0.99) -> None:
        super().__init__()
        self.trained = network
        self.average = WeightAverage(network, average)

    @property
    def result(self) -> nn.Module:
        """What is validated and exported: the average, or without one the network itself."""
        return self.average.module if self.average.decay else self.trained

    def update_average(self, before: int = 0) -> None:
        """Move the average towards the network; once an update, ``before`` of which are done."""
        if self.average.decay:
            self.average.update_parameters(self.trained, before)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (B, C, H, W) of the network that trains."""
        return self.trained(image)
