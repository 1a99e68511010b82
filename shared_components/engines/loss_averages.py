"""Per-epoch means of the losses that an iteration returns."""

from __future__ import annotations

from collections import defaultdict

import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys as Keys


class LossAverages:
    """Means of each named loss over an epoch, into ``engine.state.metrics``.

    An iteration's output holds ``{"loss": scalar}`` or ``{"loss": {name: scalar tensor}}``; a lazy term that is
    absent from some iterations is averaged over those in which it occurs. MONAI's stock ``SupervisedTrainer``
    takes it as a handler (with ``decollate: false``).
    """

    def __init__(self) -> None:
        self._values: dict[str, list[torch.Tensor]] = defaultdict(list)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer; called by the trainers of this package."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _reset(self, engine: Engine) -> None:
        for name in self._values:  # a term that this epoch lacks must not be reported with it
            engine.state.metrics.pop(name, None)
        self._values.clear()

    def _collect(self, engine: Engine) -> None:
        losses = engine.state.output[Keys.LOSS]
        for name, value in (losses if isinstance(losses, dict) else {Keys.LOSS: losses}).items():
            self._values[name].append(torch.as_tensor(value).detach())

    def _report(self, engine: Engine) -> None:
        for name, values in self._values.items():
            engine.state.metrics[name] = float(torch.stack(values).double().mean())
