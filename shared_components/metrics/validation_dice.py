"""Dice of whole volumes whose slices come one by one, in which what is found where nothing is counts."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from torch import Tensor


class VolumeDice(Metric):
    """Mean over volumes, then over classes but the background, of Dice over all known pixels of a volume's slices.

    To be attached to MONAI's ``SupervisedEvaluator`` over a ``SliceDataset``, whose slices say by ``volume`` which one
    they are of. Where a volume has nothing of a class, Dice is 0 if something of it is found and 1 if not.

    Args:
        num_classes: background included.
    Deviation: MONAI's ``MeanDice`` of slices leaves out those without the class, and with them what is found there.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._counts: dict[int, Tensor] = {}
        super().__init__()

    def reset(self) -> None:
        """Forget all volumes."""
        self._counts = {}

    def update(self, output: tuple[Tensor, Tensor, int]) -> None:
        """Add a slice: predicted classes (1, H, W), labels (1, H, W) with -1 where unknown, number of its volume."""
        pred, label, volume = output
        known = (label >= 0).flatten()
        if not known.any():
            return
        pairs = label.flatten()[known].long() * self.num_classes + pred.flatten()[known].long()
        table = torch.bincount(pairs, minlength=self.num_classes**2).reshape(self.num_classes, -1)
        counts = torch.stack([table.diagonal(), table.sum(0), table.sum(1)])  # (3, C): of both, found, true
        self._counts[volume] = self._counts.get(volume, 0) + counts

    def compute(self) -> float:
        """The mean Dice.

        Raises:
            NotComputableError: no slice with a known pixel.
        """
        if not self._counts:
            raise NotComputableError("VolumeDice: expected slices with labels, found none")
        # (volumes, C - 1)
        both, found, true = torch.stack(list(self._counts.values()))[:, :, 1:].double().unbind(1)
        total = found + true
        return float(torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0).mean())

    def iteration_completed(self, engine: Engine) -> None:
        """Add the slices of a batch that MONAI's evaluator has taken apart."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.update((output["pred"], output["label"], int(item["volume"])))
