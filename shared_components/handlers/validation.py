"""Validation during training, its scores beside the training losses."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler


class Validation(ValidationHandler):
    """MONAI's ``ValidationHandler`` that hands the validator's metrics to the trainer, for that epoch only.

    Put it before the handlers that report ``trainer.state.metrics``. Validation draws nothing from the trainer's
    random state (a loader's iterator would), so that training is the same with and without it.

    Args:
        validator: MONAI's evaluator.
        interval: epochs (or updates) between two validations.
        epoch_level: count epochs.
    """

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)

    def __call__(self, engine: Engine) -> None:
        """Validate now."""
        with torch.random.fork_rng(devices=[]):
            super().__call__(engine)
        engine.state.metrics.update(self.validator.state.metrics)

    def _forget(self, engine: Engine) -> None:
        for name in self.validator.state.metrics:
            engine.state.metrics.pop(name, None)
