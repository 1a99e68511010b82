"""The weights that validation liked best."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from shared_components.tensors import misfit, not_finite


class BestWeights:
    """Keeps a copy of a module's tensors from the validation with the highest key metric; finite ones only.

    It has a state, so that a resumed run chooses among all its validations, also those before the stop.

    Args:
        module: what is kept.
        validator: MONAI's evaluator with a key metric; None (no validation): the last weights are kept as they are.
    """

    def __init__(self, module: nn.Module, validator: Engine | None) -> None:
        self.module = module
        self.metric = -math.inf
        self._tensors: dict[str, torch.Tensor] = {}
        if validator is not None:
            validator.add_event_handler(Events.COMPLETED, self._compare)

    def _compare(self, engine: Engine) -> None:
        metric = float(engine.state.metrics[engine.state.key_metric_name])
        tensors = self.module.state_dict()
        if metric > self.metric and not not_finite(
            tensors
        ):  # NaN weights score as background: Dice may be high
            self.metric = metric
            self._tensors = {name: t.detach().cpu().clone() for name, t in tensors.items()}

    def restore(self) -> None:
        """Put the best tensors into the module; without a validation it stays as it is."""
        if self._tensors:
            self.module.load_state_dict(self._tensors)

    def state_dict(self) -> dict[str, Any]:
        """Metric and tensors."""
        return {"metric": self.metric, "tensors": dict(self._tensors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.metric = float(state["metric"])
        self._tensors = dict(state["tensors"])
        if self._tensors and misfit(self.module.state_dict(), self._tensors):
            raise ValueError("expected tensors of the module, found others")
