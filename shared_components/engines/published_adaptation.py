"""Adaptation of the published model by intra-domain, inter-domain and cycle steps, and what precedes it (method §2.2).

Before it, the source pre-training reconstructs and segments labelled source slices (method §2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.utils import convert_tensor
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.engines.update_trainer import UpdateTrainer, critic_step
from shared_components.errors import InputError
from shared_components.losses.adversarial import generator_nonsaturating_loss
from shared_components.networks.domain_norm import known_groups
from shared_components.networks.generator import SynthesisOutput
from shared_components.networks.published_adapter import SegmentationPaths

Batch = dict[str, Any]
Losses = dict[str, Tensor]


class _PublishedTrainer(UpdateTrainer):
    """What both steps have in common: the paths, and weighted losses of images and masks."""

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

    def _update(self, losses: Losses) -> Losses:
        self.optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}


class CycleTrainer(_PublishedTrainer):
    """Alternates intra-domain and inter-domain updates on batches that mix source and target slices.

    Intra: every slice is decoded in its own domain; image loss, and mask loss where a label exists. Inter:
    every slice is decoded in the other domain; the translated source must keep its mask (target classifier);
    the detached translation, decoded back, must give the first image and mask. Generator and source
    classifier stay as they are; the target classifier sees detached features, except those of labelled
    target slices.

    Args:
        train_data_loader: batches of source and target slices with "image" (B, 1, S, S) in [-1, 1], "label"
            (B, 1, S, S), "labelled" (B,), "domain" (B,) and "position" (B,).
        network: the paths; its adapter is trained, its ``source`` and ``target`` are the two domains.
        optimizer: over ``adapter.adaptation_parameters()``.
        loss_function: mask loss, called as ``(logits, label, labelled)``.
        image_loss: called as ``(reconstruction, image)``.
        image_weight: weight of the image losses.
        mask_weight: weight of the mask losses.
        adversarial_weight: weight of the adversarial loss on translations (0: the published losses alone).
        discriminator: critic of translations, called as ``(image, domain, position)``, the factory's or a new
            one; it is fine-tuned here and is no part of ``network``.
        discriminator_optimizer: over the discriminator.
        r1_gamma: weight γ of the discriminator's R1 penalty (γ / 2 multiplies it).
        r1_every: discriminator steps between two R1 terms.
        supervised: the rest of ``SupervisedTrainer``.
    Raises:
        ValueError: an adversarial weight without discriminator or its optimiser.
        InputError: source and target are the same domain.
    Deviation: the adversarial loss is not in the publication. It is for translations across inverted contrast, which
    kept the image's own look without it; that was seen while SSIM was of signed intensities, and not tried again since.
    """

    def __init__(
        self,
        *,
        network: SegmentationPaths,
        adversarial_weight: float = 0.0,
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        r1_gamma: float = 0.5,
        r1_every: int = 16,
        **supervised: Any,
    ) -> None:
        if adversarial_weight and (discriminator is None or discriminator_optimizer is None):
            raise ValueError(
                f"adversarial_weight {adversarial_weight}: expected a discriminator and its optimizer, "
                "found none; give both or set the weight to 0"
            )
        if network.source == network.target:
            raise InputError(
                "target_domain: expected another than source_domain, found the same; name the client's"
            )
        super().__init__(network=network, **supervised)
        self.adversarial_weight = adversarial_weight
        self.discriminator, self.discriminator_optimizer = discriminator, discriminator_optimizer
        self.r1_gamma, self.r1_every = r1_gamma, r1_every
        network.adapter.fix_source()
        self._updates = 0  # the network's own, known without waiting for the device
        self.add_event_handler(Events.EPOCH_STARTED, self._count)

    def _count(self) -> None:
        self._updates = int(self.network.adapter.injection.updates)  # a resumed run keeps the turn

    def _iteration(self, engine: Engine, batchdata: Batch) -> dict:
        """One update: intra-domain and inter-domain by turns, counted by the network's own buffer."""
        if batchdata is None:
            raise ValueError("CycleTrainer: expected a batch, found None; check the data loader")
        batch = self._prepared(batchdata)
        adapter = self.network.train().adapter
        if self._updates % 2 == 0:
            losses = self._update(self._intra(batch))
        else:
            translation = adapter.decode(batch["image"], batch["own"], batch["other"])
            losses = self._update(self._inter(batch, translation))
            if self.adversarial_weight:
                losses |= self._discriminator_step(batch, translation.image.detach(), self._updates // 2)
        adapter.injection.advance()
        self._updates += 1
        self.state.output = {Keys.LOSS: losses}
        return self.state.output

    def _prepared(self, batchdata: dict[str, Tensor]) -> Batch:
        """A batch on the device, with what depends on its domains, which are looked at before they go there.

        Added are ``own`` and ``other``, the domains of the slices and those that they are translated to, and
        ``source_chosen`` and ``target_chosen``, the indices of the labelled slices of each.
        """
        device, source = self.state.device, self.network.source
        of_source, labelled = batchdata["domain"] == source, batchdata["labelled"]
        chosen = {"source_chosen": of_source & labelled, "target_chosen": ~of_source & labelled}
        other = torch.where(of_source, self.network.target, source)
        return {
            **convert_tensor(batchdata, device, self.non_blocking),
            **{k: torch.nonzero(v).flatten().to(device, non_blocking=True) for k, v in chosen.items()},
            "own": known_groups(batchdata["domain"], device),
            "other": known_groups(other, device),
        }

    def _intra(self, batch: Batch) -> Losses:
        decoded = self.network.adapter.decode(batch["image"], batch["own"], batch["own"])
        losses = {"intra_image": self.image_weight * self.image_loss(decoded.image, batch["image"])}
        return losses | self._own_masks("intra", decoded.features, batch)

    def _inter(self, batch: Batch, translation: SynthesisOutput) -> Losses:
        adapter = self.network.adapter
        detached = [feature.detach() for feature in translation.features]
        losses = self._mask("translated_mask", adapter.target_classifier, detached, batch, "source")
        if self.adversarial_weight:
            critic = self.discriminator.requires_grad_(False)
            logits = critic(translation.image, batch["other"].domain, batch["position"])
            losses["adversarial"] = self.adversarial_weight * generator_nonsaturating_loss(logits)
        cycle = adapter.decode(translation.image.detach(), batch["other"], batch["own"])
        losses["cycle_image"] = self.image_weight * self.image_loss(cycle.image, batch["image"])
        return losses | self._own_masks("cycle", cycle.features, batch)

    def _own_masks(self, step: str, features: Sequence[Tensor], batch: Batch) -> Losses:
        """Mask losses of features decoded in the slices' own domains."""
        adapter = self.network.adapter
        losses = self._mask(f"{step}_source_mask", adapter.source_classifier, features, batch, "source")
        return losses | self._mask(
            f"{step}_target_mask", adapter.target_classifier, features, batch, "target"
        )

    def _mask(
        self, name: str, classifier: Callable, features: Sequence[Tensor], batch: Batch, domain: str
    ) -> Losses:
        """The mask loss over the labelled slices of ``domain``, "source" or "target"; nothing when there is none."""
        chosen = batch[f"{domain}_chosen"]
        if len(chosen) == 0:
            return {}
        logits = classifier([feature[chosen] for feature in features])
        loss = self.loss_function(logits, batch["label"][chosen], batch["labelled"][chosen])
        return {name: self.mask_weight * loss}

    def _discriminator_step(self, batch: Batch, fake: Tensor, step: int) -> Losses:
        """Real slices against translations, each judged for the domain that it shows or should show."""
        critic = self.discriminator.requires_grad_(True)
        lazy = bool(self.r1_gamma) and step % self.r1_every == 0
        real = batch["image"].detach().requires_grad_(lazy)
        real_logits = critic(real, batch["domain"], batch["position"])
        fake_logits = critic(fake, batch["other"].domain, batch["position"])
        penalty = self.r1_gamma / 2 * self.r1_every if lazy else 0.0
        return critic_step(self.discriminator_optimizer, real, real_logits, fake_logits, penalty)


class SourcePretrainer(_PublishedTrainer):
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

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> dict:
        """One update on a batch of source slices."""
        if batchdata is None:
            raise ValueError("SourcePretrainer: expected a batch, found None; check the data loader")
        batch = convert_tensor(batchdata, self.state.device, self.non_blocking)
        adapter = self.network.train().adapter
        decoded = adapter.decode(batch["image"], batch["domain"], batch["domain"])
        logits = adapter.source_classifier(decoded.features)
        found = {
            "image": self.image_weight * self.image_loss(decoded.image, batch["image"]),
            "mask": self.mask_weight * self.loss_function(logits, batch["label"], batch["labelled"]),
        }
        losses = self._update(found)
        adapter.injection.advance()
        self.state.output = {Keys.LOSS: losses}
        return self.state.output
