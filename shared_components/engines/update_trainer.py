"""What trainers have in common: an epoch of updates, a discriminator's step, the means of losses over an epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.utils import CommonKeys as Keys
from torch import Tensor
from torch.optim import Optimizer

from shared_components.losses.adversarial import discriminator_logistic_loss, r1_penalty


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


def critic_step(
    optimizer: Optimizer, real: Tensor, real_logits: Tensor, fake_logits: Tensor, penalty: float
) -> dict[str, Tensor]:
    """Tell real from fake better; what is returned is without the penalty.

    Args:
        optimizer: the discriminator's.
        real: images (B, C, H, W), requiring grad where there is a penalty.
        real_logits: of them, (B, 1).
        fake_logits: of made images, (B, 1).
        penalty: what R1 is multiplied by: γ / 2, times the steps between two; 0: none in this step.
    """
    loss = discriminator_logistic_loss(real_logits, fake_logits)
    told = {"discriminator": loss.detach()}
    if penalty:
        loss = loss + r1_penalty(real_logits, real) * penalty
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return told


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
