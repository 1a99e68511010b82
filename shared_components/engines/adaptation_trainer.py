"""The default adaptation: translation, training on translations and twins, self-training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from ignite.engine import Engine
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.engines.update_trainer import UpdateTrainer, critic_step
from shared_components.errors import InputError
from shared_components.losses.adversarial import (
    generator_nonsaturating_loss,
)
from shared_components.networks.pseudo_labels import LabelMemory, pseudo_labels
from shared_components.networks.translator import AdaptationNetwork

Augmentation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def cosine_decay(step: int, steps: int, floor: float = 0.02) -> float:
    """Factor of the learning rate at ``step`` of ``steps``: from 1 down to ``floor`` along half a cosine."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))


class AdaptationTrainer(UpdateTrainer):
    """Makes a segmentation model for a domain without labels out of synthetic labelled source slices.

    Three phases, counted in updates:

    1. *Translation*: a network turns synthetic source slices into slices that the target's discriminator takes
       for real, in which the frozen source model still finds the source's label, and that resemble the twins
       which the factory draws of the same latents in the target's domain.
    2. *Segmentation*: the segmenter, starting from the source model, trains on translations, twins and synthetic
       source slices with the source's labels, strongly augmented; with ``own_labels`` also on the client's own.
    3. *Self-training*: the segmenter is frozen as teacher; its labels of the client's own images (the client's own
       labels where it has some) train the segmenter on, augmented, beside some of phase 2's slices. Several rounds
       divide the phase's updates among them; each begins with a new teacher and the full learning rate.

    A phase of 0 updates is left out: without phases 1 and 2 this is plain self-training of the source model.

    Args:
        train_data_loader: batches with "image" (B, 1, S, S), "label", "labelled", "domain", "position", "index" of own
            slices, and "source", "twin", "source_label", "source_position" of synthetic ones.
        network: segmenter, teacher, translator, discriminator.
        optimizer: the segmenter's.
        translator_optimizer: the translator's.
        discriminator_optimizer: the discriminator's.
        loss_function: of class scores (B, C, S, S) and labels (B, 1, S, S).
        augmentation: strong augmentation of (image, label).
        own_augmentation: that of the client's own slices in self-training; None: the same.
        phases: updates of translation, segmentation and self-training.
        consistency_weight: of the source model's loss on translations.
        twin_weight: of the L1 distance to the twins.
        r1_gamma: R1 weight γ of the discriminator.
        r1_every: discriminator steps between two R1 terms.
        own_share: share of the client's own slices in a batch of self-training, at least one.
        own_labels: the client's own labelled slices join phase 2; without, their labels are used in phase 3 alone.
        rounds: of self-training.
        confidence: pixels whose label the teacher gives a smaller probability are left out of self-training.
        agreement: so are those that it labels otherwise in the slice's mirror image.
        supervised: the rest of ``UpdateTrainer``; ``compiled`` has no use here.
    Raises:
        InputError: a phase is negative, or all are 0; or self-training has fewer updates than rounds; (with the first
            batch) there are no synthetic slices for phases 1 and 2.
    Deviation: not in the publications, whose combination is ``CycleTrainer``.
    """

    def __init__(
        self,
        *,
        network: AdaptationNetwork,
        optimizer: Optimizer,
        translator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        augmentation: Augmentation,
        phases: tuple[int, int, int],
        own_share: float,
        consistency_weight: float = 1.0,
        twin_weight: float = 1.0,
        r1_gamma: float = 0.5,
        r1_every: int = 8,
        own_labels: bool = False,
        own_augmentation: Augmentation | None = None,
        rounds: int = 1,
        confidence: float = 0.0,
        agreement: bool = False,
        **supervised: Any,
    ) -> None:
        super().__init__(network=network, optimizer=optimizer, loss_function=loss_function, **supervised)
        if not sum(phases) or min(phases) < 0:
            raise InputError(f"phases: expected three numbers of updates, not all 0, found {list(phases)}")
        if phases[0] and not network.is_own_teacher:
            raise InputError(
                "teacher_paths: teachers are for self-training alone; set the first of phases to 0"
            )
        if rounds < 1 or 0 < phases[2] < rounds:
            raise InputError(
                f"self_training_rounds: expected 1 to {max(phases[2], 1)}, the updates of self-training, found {rounds}"
            )
        self.phases, self.rounds = tuple(phases), rounds
        self.own_augmentation = own_augmentation or augmentation
        self.translator_optimizer = translator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.augmentation = augmentation
        self.consistency_weight, self.twin_weight = consistency_weight, twin_weight
        self.r1_gamma, self.r1_every = r1_gamma, r1_every
        self.own_share, self.own_labels = own_share, own_labels
        teacher = partial(self._passed, network.teacher)
        self._taught = LabelMemory(
            network.teacher, partial(pseudo_labels, teacher, confidence=confidence, agreement=agreement)
        )
        if self.state.max_epochs and self.state.max_epochs * self.state.epoch_length < sum(phases):
            self.logger.warning(
                f"max_epochs ({self.state.max_epochs} of {self.state.epoch_length} updates) ends before phases do, "
                f"{list(phases)}: what is left of them never comes; raise it or lower them"
            )
        self._base_rates = {
            id(o): [group["lr"] for group in o.param_groups]
            for o in (optimizer, translator_optimizer, discriminator_optimizer)
        }

    def _decay(self, optimizer: Optimizer, step: int, steps: int) -> None:
        for group, rate in zip(optimizer.param_groups, self._base_rates[id(optimizer)], strict=True):
            group["lr"] = rate * cosine_decay(step, steps)

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> dict:
        """One update of the phase that the update's number falls in; the last one takes what is left of the epoch."""
        batch = {  # the index stays on the CPU, where it is read
            name: value if name == "index" else value.to(self.state.device, non_blocking=True)
            for name, value in batchdata.items()
        }
        self.network.train()
        step = self.state.iteration - 1
        translation, segmentation, self_training = self.phases
        if translation + segmentation and "source" not in batch:
            raise InputError(
                "phases: expected [0, 0, updates of self-training], since this training has no synthetic slices "
                f"(self_training.yaml), found {list(self.phases)}; set the first two to 0"
            )
        if step < translation or not segmentation + self_training:
            losses = self._translation_update(batch, step, translation)
        elif step < translation + segmentation or not self_training:
            losses = self._segmentation_update(batch, step - translation, segmentation)
        else:
            step, steps = self._step_of_round(step - translation - segmentation, self_training)
            if step == 0:
                self.network.renew_teacher()
            losses = self._self_training_update(batch, step, steps)
        self.state.output = {Keys.LOSS: losses}
        return self.state.output

    def _step_of_round(self, step: int, steps: int) -> tuple[int, int]:
        """Of a step of self-training: which one of its round it is, and how many the round has.

        Epochs are whole: the last round may go on beyond its updates.
        """
        begins = [steps * number // self.rounds for number in range(self.rounds + 1)]
        number = sum(begin <= step for begin in begins[1:-1])  # rounds that are over
        return step - begins[number], begins[number + 1] - begins[number]

    def _passed(self, network: nn.Module, *inputs: Tensor, exact: bool = False) -> Tensor:
        """What a network makes of ``inputs``; ``exact``: in float32 in any case, for double derivatives."""
        with self.lower_precision(not exact):
            return network(*inputs).float()

    # --- phase 1 -------------------------------------------------------------------------------------------------

    def _translation_update(self, batch: dict[str, Tensor], step: int, steps: int) -> dict[str, Tensor]:
        for optimizer in (self.translator_optimizer, self.discriminator_optimizer):
            self._decay(optimizer, step, steps)
        losses = self._discriminator_step(batch, step)
        discriminator = self.network.discriminator.requires_grad_(False)
        fake = self._passed(self.network.translator, batch["source"])
        logits = self._passed(discriminator, fake, _target_domains(batch), batch["source_position"])
        adversarial = generator_nonsaturating_loss(logits)
        consistency = self.loss_function(self._passed(self.network.teacher, fake), batch["source_label"])
        twin = F.l1_loss(fake, batch["twin"]) if "twin" in batch else torch.zeros_like(consistency)
        total = adversarial + self.consistency_weight * consistency + self.twin_weight * twin
        self.translator_optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.translator_optimizer.step()
        return losses | {
            "translator_adversarial": adversarial.detach(),
            "translator_consistency": consistency.detach(),
            "translator_twin": twin.detach(),
        }

    def _discriminator_step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        discriminator = self.network.discriminator.requires_grad_(True)
        lazy = bool(self.r1_gamma) and step % self.r1_every == 0
        real = batch["image"].detach().requires_grad_(lazy)
        with torch.no_grad():
            fake = self._passed(self.network.translator, batch["source"])
        real_logits = self._passed(discriminator, real, batch["domain"], batch["position"], exact=lazy)
        fake_logits = self._passed(discriminator, fake, _target_domains(batch), batch["source_position"])
        penalty = self.r1_gamma / 2 * self.r1_every if lazy else 0.0
        return critic_step(self.discriminator_optimizer, real, real_logits, fake_logits, penalty)

    # --- phases 2 and 3 ------------------------------------------------------------------------------------------

    def _synthetic_slices(self, batch: dict[str, Tensor], count: int) -> tuple[Tensor, Tensor]:
        """The last ``count`` synthetic slices, each in one of its looks: translated (with a phase 1), twin (if it has
        one) or source. The looks take turns, from update to update.
        """
        wanted = {name: batch[name][-count:] for name in ("twin", "source", "source_label") if name in batch}
        looks = [wanted[look] for look in ("twin", "source") if look in wanted]
        if self.phases[0]:
            with torch.no_grad():
                looks.insert(0, self._passed(self.network.translator, wanted["source"]))
        places = torch.arange(count, device=wanted["source"].device)
        images = torch.stack(looks)[(self.state.iteration * count + places) % len(looks), places]
        return images, wanted["source_label"]

    def _segmenter_step(self, image: Tensor, label: Tensor) -> Tensor:
        loss = self.loss_function(self._passed(self.network.segmenter, image), label)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.network.update_average(self.state.iteration - 1 - self.phases[0])  # none of translation
        return loss.detach()

    def _segmentation_update(self, batch: dict[str, Tensor], step: int, steps: int) -> dict[str, Tensor]:
        self._decay(self.optimizer, step, steps)
        images, labels = self._synthetic_slices(batch, len(batch["source"]))
        if self.own_labels:  # pixels that nobody annotated are -1, which the loss leaves out
            labelled = batch["labelled"]
            images = torch.cat([images, batch["image"][labelled]])
            labels = torch.cat([labels, batch["label"][labelled]])
        return {"segmentation": self._segmenter_step(*self.augmentation(images, labels))}

    def _self_training_update(self, batch: dict[str, Tensor], step: int, steps: int) -> dict[str, Tensor]:
        self._decay(self.optimizer, step, steps)
        size = len(batch["image"])
        own = batch["image"][: max(1, round(size * self.own_share))]
        own, label = self.own_augmentation(own, self._own_labels(batch, len(own)))
        if len(own) < size and "source" in batch:
            images, labels = self.augmentation(*self._synthetic_slices(batch, size - len(own)))
            own, label = torch.cat([own, images]), torch.cat([label, labels])
        return {"self_training": self._segmenter_step(own, label)}

    @torch.no_grad()
    def _own_labels(self, batch: dict[str, Tensor], count: int) -> Tensor:
        """Labels (count, 1, S, S) of the first own slices: the client's where it has one, else the teacher's.

        They are -1 where the teacher is too unsure.
        """
        pseudo = self._taught(batch["image"][:count], batch["index"][:count])
        known = batch["labelled"][:count, None, None, None] & (batch["label"][:count] >= 0)
        return torch.where(known, batch["label"][:count], pseudo)


def _target_domains(batch: Mapping[str, Tensor]) -> Tensor:
    """Domains (B,) that translations are to look like: of their twins, else of the client's own slices in turn."""
    if "twin_domain" in batch:
        return batch["twin_domain"]
    own = batch["domain"]
    return own[torch.arange(len(batch["source"]), device=own.device) % len(own)]
