"""The course of a training: rates that fall, an average that follows its weights, an end where these are no numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys as Keys
from torch import Tensor
from torch.optim import Optimizer

from shared_components.errors import InputError
from shared_components.networks.weight_average import AveragedNetwork
from shared_components.tensors import not_finite


class FiniteTraining:
    """Ends a training at the first update whose loss, or the first epoch whose weights, are NaN or infinite.

    To be attached before whatever writes: then no checkpoint, table, picture or export is made of them, and what was
    written before stays. ignite's ``TerminateOnNan`` ends a run as if it were complete, which would save it.
    On the CPU every update is looked at when it is done; elsewhere at the end of its epoch, since each look would wait
    for the device.

    Args:
        stage: what is trained, for the message.
        lower: ids of the config that make training calmer when they are lowered.
    """

    def __init__(self, stage: str, lower: Sequence[str]) -> None:
        self.stage, self.lower = stage, tuple(lower)
        self._losses: dict[int, dict[str, Tensor]] = {}

    def attach(self, engine: Engine) -> None:
        """Register with a trainer that has a ``network``."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._losses.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._remember)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._look)

    def _remember(self, engine: Engine) -> None:
        losses = _losses(engine.state.output)
        self._losses[engine.state.iteration] = losses
        if all(loss.device.type == "cpu" for loss in losses.values()):
            self._look_at_losses()
            self._losses.clear()

    def _look(self, engine: Engine) -> None:
        self._look_at_losses()
        bad = not_finite(engine.network.state_dict())
        if bad:
            raise self._diverged(engine.state.iteration, f"the weight '{bad}'")

    def _look_at_losses(self) -> None:
        for update, losses in self._losses.items():
            bad = not_finite(losses)
            if bad:
                raise self._diverged(update, f"the loss '{bad}'")

    def _diverged(self, update: int, what: str) -> InputError:
        lower = " or ".join(self.lower)
        return InputError(
            f"{self.stage}, update {update}: {what} is NaN or infinite, training diverged; what was written before it "
            f"is kept: lower {lower} and start over (a checkpoint has the rates of its run), or look at the images"
        )


def _losses(output: Any) -> dict[str, Tensor]:
    """The losses of an iteration by name; of a stock trainer that takes its batches apart, the first sample's."""
    if isinstance(output, list):
        output = output[0] if output else None
    found = output.get(Keys.LOSS, {}) if isinstance(output, dict) else {}
    named = found if isinstance(found, dict) else {Keys.LOSS: found}
    return {str(name): torch.as_tensor(value).detach() for name, value in named.items()}


class AverageUpdates:
    """Moves a network's running average after every update; ``network`` holds it, so that its state is saved with it.

    The engine's own updates count where a federation leaves the average's counter as it was, as with ``privacy``.

    Args:
        network: what is trained.
    Deviation: ignite's ``EMAHandler`` keeps its average outside the network, where no federation exchanges it.
    """

    def __init__(self, network: AveragedNetwork) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)

    def _update(self, engine: Engine) -> None:
        self.network.update_average(engine.state.iteration - 1)


class FallingRates:
    r"""Gives epoch e of n the share :math:`1 - (1 - f)(e - 1) / n` of each rate, which is f once the last has ended;
    or lets it fall there along half a cosine.

    It follows from the number of the epoch and the present n alone, so that a training that goes on with more epochs
    goes on with the rates of the longer one. In a federation e is the round, whoever took part in the others.

    Args:
        optimizers: whose rates fall, each group's from the one that it was made with.
        final: f; 1: rates are left alone.
        epochs: n.
        cosine: along half a cosine (Loshchilov and Hutter 2017, without restarts), not a line.
    Deviation: torch's ``CosineAnnealingLR`` keeps n in its state, and counts the epochs that a client took part in.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], final: float, epochs: int, cosine: bool = False
    ) -> None:
        self.optimizers, self.final, self.epochs, self.cosine = tuple(optimizers), final, epochs, cosine
        for group in self._groups():
            # torch's own name, which an optimiser's state has too
            group.setdefault("initial_lr", group["lr"])

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if self.final != 1:
            engine.add_event_handler(Events.EPOCH_STARTED, self._set)

    def _set(self, engine: Engine) -> None:
        epoch = getattr(engine.state, "round", engine.state.epoch)
        left = 1 - min(1.0, (epoch - 1) / self.epochs)
        share = self.final + (1 - self.final) * ((1 - math.cos(math.pi * left)) / 2 if self.cosine else left)
        for group in self._groups():
            group["lr"] = group["initial_lr"] * share

    def _groups(self) -> list[dict]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]
