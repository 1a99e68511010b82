"""Learning rates that fall over a training."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Engine, Events
from torch.optim import Optimizer


class FallingRates:
    r"""Gives epoch e of n the share :math:`1 - (1 - f)(e - 1) / n` of each rate, which is f once the last has ended.

    It follows from the number of the epoch and the present n alone, so that a training that goes on with more epochs
    goes on with the rates of the longer one. In a federation e is the round, whoever took part in the others.

    Args:
        optimizers: whose rates fall, each group's from the one that it was made with.
        final: f; 1: rates are left alone.
        epochs: n.
    """

    def __init__(self, optimizers: Sequence[Optimizer], final: float, epochs: int) -> None:
        self.optimizers, self.final, self.epochs = tuple(optimizers), final, epochs
        for group in self._groups():
            group.setdefault(
                "initial_lr", group["lr"]
            )  # torch's own name, which an optimiser's state has too

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if self.final != 1:
            engine.add_event_handler(Events.EPOCH_STARTED, self._set)

    def _set(self, engine: Engine) -> None:
        epoch = getattr(engine.state, "round", engine.state.epoch)
        share = 1 - (1 - self.final) * min(1.0, (epoch - 1) / self.epochs)
        for group in self._groups():
            group["lr"] = group["initial_lr"] * share

    def _groups(self) -> list[dict]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]
