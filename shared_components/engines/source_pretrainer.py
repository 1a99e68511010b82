"""Source pre-training: reconstruct and segment labelled source slices (method §2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine
from ignite.utils import convert_tensor
from monai.utils import CommonKeys as Keys
from torch import Tensor
from torch.optim import Optimizer

from shared_components.engines.update_trainer import UpdateTrainer
from shared_components.networks.published_adapter import SegmentationPaths


class SourcePretrainer(UpdateTrainer):
    """Trains the encoder, the content injection and the source classifier; the generator stays frozen.

    Args:
        train_data_loader: batches of slices with "image" (B, 1, S, S) in [-1, 1], "label" (B, 1, S, S),
            "labelled" (B,) and "domain" (B,).
        network: the paths; its adapter is trained.
        optimizer: over ``adapter.source_parameters()``.
        loss_function: mask loss, called as ``(logits, label, labelled)``.
        image_loss: called as ``(reconstruction, image)``.
        image_weight: weight of the image loss.
        mask_weight: weight of the mask loss.
        supervised: the rest of ``SupervisedTrainer``.
    """

    def __init__(
        self,
        *,
        network: SegmentationPaths,
        optimizer: Optimizer,
        loss_function: Callable[[Tensor, Tensor, Tensor], Tensor],
        image_loss: Callable[[Tensor, Tensor], Tensor],
        image_weight: float = 1.0,
        mask_weight: float = 1.0,
        **supervised: Any,
    ) -> None:
        super().__init__(network=network, optimizer=optimizer, loss_function=loss_function, **supervised)
        self.image_loss = image_loss
        self.image_weight, self.mask_weight = image_weight, mask_weight

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> dict:
        """One update on a batch of source slices."""
        if batchdata is None:
            raise ValueError("SourcePretrainer: expected a batch, found None; check the data loader")
        batch = convert_tensor(batchdata, self.state.device, self.non_blocking)
        adapter = self.network.train().adapter
        decoded = adapter.decode(batch["image"], batch["domain"], batch["domain"])
        logits = adapter.source_classifier(decoded.features)
        losses = {
            "image": self.image_weight * self.image_loss(decoded.image, batch["image"]),
            "mask": self.mask_weight * self.loss_function(logits, batch["label"], batch["labelled"]),
        }
        self.optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        self.optimizer.step()
        adapter.injection.advance()
        self.state.output = {Keys.LOSS: {name: loss.detach() for name, loss in losses.items()}}
        return self.state.output
