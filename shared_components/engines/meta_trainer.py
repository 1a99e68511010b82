"""Training over several domains with few labels: meta-learning, or plain (method 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.utils import convert_tensor
from monai.utils import CommonKeys as Keys
from torch import Tensor
from torch.optim import Optimizer

from shared_components.engines.meta_step import (
    Forward,
    Losses,
    adapted_parameters,
    detached,
    meta_gradients,
    total_loss,
)
from shared_components.engines.update_trainer import UpdateTrainer, in_float32
from shared_components.errors import InputError
from shared_components.losses.generalisation import GeneralisationLoss
from shared_components.networks.disentangled import DisentangledNetwork, DisentangledOutput
from shared_components.networks.pseudo_labels import FrozenTeacher
from shared_components.value_rules import whole

Batch = dict[str, Tensor]
Episode = Mapping[str, Batch]
Augmentation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class MetaTrainer(UpdateTrainer):
    """Trains a disentangled network so that a step that helps some domains helps one that it has not seen.

    An iteration makes one update with unlabelled slices and one with labelled slices, whichever its batch has. Each
    minimises the loss on the meta-train domains, and the loss on the meta-test domain after one step of gradient
    descent on the former.

    From the epochs in ``teacher_epochs`` on, a frozen copy of the segmenting part labels the slices that have no
    label, and the unlabelled update learns from these too.

    Args:
        train_data_loader: batches ``{"unlabelled": episode, "labelled": episode}``, either may be absent; an episode is
            ``{"meta_train": batch, "meta_test": batch}`` with "image" (B, 1, H, W) in [-1, 1], "label" (B, 1, H, W)
            and "domain" (B,).
        network: anatomy encoder, style encoder, domain classifier, decoder.
        optimizer: over the network's parameters.
        loss_function: loss terms of both halves of an episode.
        augmentation: strong or geometric augmentation of (image, label); None for none.
        teacher: labels unlabelled slices, before augmentation; None for none.
        teacher_epochs: epochs at whose start the teacher is renewed, from 1 on.
        warm_up_epochs: epochs in which an iteration is one plain update of the anatomy encoder on both halves' labelled
            slices: a good start for a fraction of the time.
        adapted: modules of the network that the inner step moves; ``[""]`` is the whole network.
        inner_rate: step size of the inner step.
        second_order: differentiate through the inner step.
        meta_learning: without it, both halves are one batch of plain training; with no weight but those of the
            segmentation, that is a U-Net which trains itself on.
        clip_value: largest absolute value of a gradient's entry; None for no clipping.
        supervised: the rest of ``UpdateTrainer``; ``compiled`` has no use here.
    Raises:
        InputError: ``adapted`` names no parameter, or a number or an epoch cannot be.
    Source: Liu et al. 2021 (arXiv:2106.13292), Sec. 2; Li et al. 2018 (MLDG).
    Deviation: the inner step moves the whole network by default; the published code moves a part of it. The
    teacher is ours.
    """

    def __init__(
        self,
        *,
        network: DisentangledNetwork,
        optimizer: Optimizer,
        loss_function: GeneralisationLoss,
        augmentation: Augmentation | None = None,
        teacher: FrozenTeacher | None = None,
        teacher_epochs: Sequence[int] = (),
        warm_up_epochs: int = 0,
        adapted: Sequence[str] = ("",),
        inner_rate: float = 1e-3,
        second_order: bool = True,
        meta_learning: bool = True,
        clip_value: float | None = 0.1,
        **supervised: Any,
    ) -> None:
        _check_settings(inner_rate, clip_value, warm_up_epochs, teacher_epochs)
        super().__init__(network=network, optimizer=optimizer, loss_function=loss_function, **supervised)
        self.augmentation = augmentation
        self.teacher = teacher
        self.warm_up_epochs = warm_up_epochs
        self.waits = teacher is not None and bool(teacher_epochs)  # a loss of labels alone, for the teacher
        if teacher is not None:
            renewal = Events.EPOCH_STARTED(event_filter=lambda _, epoch: epoch in teacher_epochs)
            self.add_event_handler(renewal, lambda _: teacher.renew())
            self.add_event_handler(Events.EPOCH_STARTED, self._note_teacher)
        self._taught_by_now = False  # whether the teacher is ready, known without waiting for the device
        self.adapted = adapted_parameters(network, adapted)
        self.inner_rate, self.second_order = inner_rate, second_order
        self.meta_learning, self.clip_value = meta_learning, clip_value
        if clip_value is not None:  # after the mean over processes, whose hook is of a handler, made before
            optimizer.register_step_pre_hook(self._clip)
        if self.state.max_epochs:
            for line in _schedule_notes(
                self.state.max_epochs, warm_up_epochs, teacher_epochs if self.waits else ()
            ):
                self.logger.warning(line)

    def _note_teacher(self) -> None:
        """At the start of an epoch: renewed, loaded from a checkpoint, or not yet there."""
        self._taught_by_now = bool(self.teacher.ready)

    def _iteration(self, engine: Engine, batchdata: Mapping[str, Episode]) -> dict:
        """The unlabelled update, then the labelled one."""
        if not batchdata:
            raise ValueError("MetaTrainer: expected an episode, found none; check the data loader")
        self.network.train()
        if self.state.epoch <= self.warm_up_epochs and "labelled" in batchdata:
            losses = self._warm_up(batchdata["labelled"])
        else:
            losses = {}
            for kind in ("unlabelled", "labelled"):
                if kind in batchdata:
                    losses |= self._learn(batchdata[kind], kind)
        self.network.update_average(self.state.iteration - 1)
        self.state.output = {Keys.LOSS: losses}
        return self.state.output

    def _on_device(self, episode: Episode) -> Episode:
        for batch in episode.values():
            if "label" in batch:
                self.loss_function.check_label(batch["label"])
        return convert_tensor(episode, self.state.device, non_blocking=True)

    def _warm_up(self, episode: Episode) -> Losses:
        """One plain step of the anatomy encoder on labelled slices."""
        losses = self._supervised(_joined(self._augmented(self._on_device(episode))))
        self._plain_step(losses)
        return detached(losses)

    def _supervised(self, batch: Batch) -> Losses:
        """Of the class scores alone, for which neither codes nor reconstruction are made."""
        with self.lower_precision():
            scores = self.network.class_scores(batch["image"])
        return self.loss_function.supervised(scores.float(), batch)

    def _learn(self, episode: Episode, kind: str) -> Losses:
        """One meta-learning update; none while a loss of labels alone waits for the teacher."""
        taught = kind == "unlabelled" and self._taught_by_now
        given, episode = episode, self._on_device(episode)
        if taught:  # the indices stay on the CPU, where they are read
            episode = {half: self._taught(batch, given[half]["index"]) for half, batch in episode.items()}
        labelled = kind == "labelled" or taught
        if not labelled and self.waits and not self.loss_function.unsupervised:
            return {}
        return self._update(self._augmented(episode), kind, labelled)

    def _taught(self, batch: Batch, index: Tensor) -> Batch:
        """The batch with the teacher's labels where it has none of its own."""
        own = batch["labelled"][:, None, None, None] & (batch["label"] >= 0)
        with self.lower_precision():
            taught = self.teacher(batch["image"], index)
        return batch | {"label": torch.where(own, batch["label"], taught)}

    def _augmented(self, episode: Episode) -> dict[str, Batch]:
        if self.augmentation is None:
            return dict(episode)
        sizes = [len(batch["image"]) for batch in episode.values()]
        image, label = (torch.cat([batch[key] for batch in episode.values()]) for key in ("image", "label"))
        image, label = (part.split(sizes) for part in self.augmentation(image, label))
        return {
            half: batch | {"image": image[n], "label": label[n]}
            for n, (half, batch) in enumerate(episode.items())
        }

    def _update(self, episode: dict[str, Batch], kind: str, labelled: bool) -> Losses:
        """One step of the optimiser; the loss terms under their names, the unlabelled ones as one sum."""
        if self.meta_learning:
            train, test = self._meta_gradients(episode, labelled)
            self.optimizer.step()
        else:
            train, test = self._plain_losses(_joined(episode), labelled), {}
            self._plain_step(train)
            train = detached(train)
        if kind == "unlabelled":
            return {"unlabelled": sum(train.values()) + sum(test.values())}
        return train | ({"meta_test": sum(test.values())} if test else {})

    def _plain_losses(self, batch: Batch, labelled: bool) -> Losses:
        """Terms of the meta-train loss on both halves."""
        if labelled and not self.loss_function.disentangles:
            return self._supervised(batch)
        return self.loss_function.meta_train(self._output(self.network, batch), batch, labelled)

    def _meta_gradients(self, episode: dict[str, Batch], labelled: bool) -> tuple[Losses, Losses]:
        def meta_train(forward: Forward) -> Losses:
            batch = episode["meta_train"]
            output = self._output(forward, batch, twice=self.second_order)
            return self.loss_function.meta_train(output, batch, labelled)

        def meta_test(forward: Forward) -> Losses:
            batch = episode["meta_test"]
            return self.loss_function.meta_test(self._output(forward, batch), batch, labelled)

        found = meta_gradients(
            self.network, meta_train, meta_test, self.adapted, self.inner_rate, self.second_order
        )
        for name, parameter in self.network.named_parameters():
            parameter.grad = found.gradients.get(name)
        return found.meta_train, found.meta_test

    def _output(self, forward: Forward, batch: Batch, twice: bool = False) -> DisentangledOutput:
        """What the network makes of a batch, for losses in float32; ``twice``: it is differentiated twice."""
        with self.lower_precision(not twice):
            return in_float32(forward(batch["image"]))

    def _plain_step(self, losses: Losses) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        total_loss(losses).backward()
        self.optimizer.step()

    def _clip(self, *_: object) -> None:
        torch.nn.utils.clip_grad_value_(self.network.parameters(), self.clip_value)


def _schedule_notes(epochs: int, warm_up: int, teacher: Sequence[int]) -> Iterator[str]:
    """What of a training never comes, or comes too early, as its epochs are."""
    if warm_up >= epochs:
        yield (
            f"warm_up_epochs ({warm_up}) leaves none of the {epochs} epochs for what comes after; "
            "lower it or raise max_epochs"
        )
    if teacher and min(teacher) > epochs:
        yield (
            f"teacher_epochs ({', '.join(map(str, teacher))}) lie after the last of the {epochs} epochs: slices "
            "without labels teach nothing; lower them or raise max_epochs"
        )
    if teacher and min(teacher) <= warm_up:
        yield (
            f"teacher_epochs begin with {min(teacher)}, within the warm-up of {warm_up} epochs: the first teacher "
            "knows little; begin after it"
        )


def _check_settings(
    inner_rate: float, clip_value: float | None, warm_up_epochs: int, teacher_epochs: Sequence[int]
) -> None:
    if inner_rate < 0:
        raise InputError(f"inner_rate: expected 0 or more, found {inner_rate}")
    if clip_value is not None and clip_value <= 0:
        raise InputError(
            f"clip_value: expected a number above 0, or null for no clipping, found {clip_value}"
        )
    if fault := whole(0).fault("warm_up_epochs", warm_up_epochs):
        raise InputError(fault)
    listed = isinstance(teacher_epochs, Sequence) and not isinstance(teacher_epochs, str)
    if not listed or any(not isinstance(epoch, int) or epoch < 1 for epoch in teacher_epochs):
        raise InputError(
            f"teacher_epochs: expected a list of epochs, from 1 on, found {teacher_epochs!r}; [] for no teacher"
        )


def _joined(episode: Episode) -> Batch:
    """Both halves as one batch."""
    halves = list(episode.values())
    return {key: torch.cat([half[key] for half in halves]) for key in halves[0]}
