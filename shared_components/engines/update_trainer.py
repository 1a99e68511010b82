"""What the trainers of this package have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.engines import SupervisedTrainer

from shared_components.engines.loss_averages import LossAverages


class UpdateTrainer(SupervisedTrainer):
    """A ``SupervisedTrainer`` whose iteration returns ``{"loss": {name: scalar tensor}}`` and no predictions.

    Args:
        train_handlers: MONAI or ignite handlers; they find the epoch's mean losses in ``state.metrics``.
        supervised: the rest of ``SupervisedTrainer``: ``device``, ``max_epochs``, ``train_data_loader``, ``network``,
            ``optimizer``, ``loss_function``, ``epoch_length`` (updates), ``inferer``, ….
    """

    def __init__(self, *, train_handlers: Sequence | None = None, **supervised: Any) -> None:
        handlers = [LossAverages(), *(train_handlers or [])]  # first: the others report its means
        super().__init__(decollate=False, train_handlers=handlers, **supervised)
