"""What the trainers of this package have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer

from shared_components.engines.loss_averages import LossAverages


class UpdateTrainer(SupervisedTrainer):
    """A ``SupervisedTrainer`` whose iteration returns ``{"loss": {name: scalar tensor}}`` and no predictions.

    Args:
        train_handlers: MONAI or ignite handlers; they find the epoch's mean losses in ``state.metrics``.
        amp: networks compute in mixed precision, see :meth:`lower_precision`.
        channels_last: weights, and with them features, lie channel by channel within a pixel.
        compiled: backend of ``torch.compile`` for the networks' plain passes, such as "inductor", with which the first
            updates take minutes; None: not compiled.
        supervised: the rest of ``SupervisedTrainer``: ``device``, ``max_epochs``, ``train_data_loader``, ``network``,
            ``optimizer``, ``loss_function``, ``epoch_length`` (updates), ``inferer``, ….
    Deviation: MONAI's ``amp`` is float16 on CUDA alone, with a scaled loss; bfloat16 needs no scale and runs anywhere.
    """

    def __init__(
        self,
        *,
        train_handlers: Sequence | None = None,
        amp: bool = False,
        channels_last: bool = False,
        compiled: str | None = None,
        **supervised: Any,
    ) -> None:
        handlers = [LossAverages(), *(train_handlers or [])]  # first: the others report its means
        super().__init__(decollate=False, train_handlers=handlers, **supervised)
        self.amp, self.compiled = amp, compiled
        if channels_last:
            self.network.to(memory_format=torch.channels_last)

    def lower_precision(self, allowed: bool = True) -> torch.autocast:
        """Where convolutions and matrix products are in bfloat16, if ``amp`` says so.

        Args:
            allowed: False where a gradient is differentiated once more, which stays in float32.
        """
        return torch.autocast(self.state.device.type, torch.bfloat16, enabled=self.amp and allowed)

    def fast_form(self, call: Callable) -> Callable:
        """``call`` as it is, or compiled; its gradient can then not be differentiated once more."""
        return torch.compile(call, backend=self.compiled) if self.compiled else call


def in_float32(output: Any) -> Any:
    """A tensor, or named tuples of tensors, with what autocast has made shorter in float32 again."""
    if isinstance(output, torch.Tensor):
        return output.float()
    return type(output)(*map(in_float32, output))
