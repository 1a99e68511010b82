"""Training of the factory: one update is a discriminator step and a generator step (method §1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys as Keys
from torch import Tensor
from torch.optim import Adam, Optimizer

from shared_components.engines.shown_slices import Growth, LabelChannels
from shared_components.engines.update_trainer import UpdateTrainer
from shared_components.losses.adversarial import (
    PathLengthPenalty,
    discriminator_fake_loss,
    discriminator_real_loss,
    generator_nonsaturating_loss,
    r1_penalty,
)
from shared_components.losses.domain_rehearsal import DomainRehearsal
from shared_components.losses.semantic_alignment import SemanticAlignment
from shared_components.networks.discriminator_augmentation import DiscriminatorAugmentation
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.frozen_discriminator import FrozenDiscriminator


def lazy_adam(
    parameters: Iterable[Tensor] | Mapping[float, Iterable[Tensor]],
    lr: float,
    interval: int,
    betas: tuple[float, float] = (0.0, 0.99),
) -> Adam:
    """Adam corrected for a regulariser that is evaluated every ``interval`` updates only.

    lr and betas are changed with c = interval / (interval + 1): lr·c and β^c; ``interval`` 0 means none.

    Args:
        parameters: what it moves; a mapping gives factors of the learning rate, each with the parameters that have it.
        lr: learning rate.
        interval: updates between two regularisers.
        betas: of Adam.
    Source: Karras et al. 2020, Appendix B ("Lazy regularization").
    """
    c = interval / (interval + 1) if interval else 1.0
    if isinstance(parameters, Mapping):
        parameters = [{"params": list(own), "lr": lr * c * by} for by, own in parameters.items() if own]
    return Adam(parameters, lr=lr * c, betas=(betas[0] ** c, betas[1] ** c), fused=True)


class FactoryTrainer(UpdateTrainer):
    """Alternates discriminator and generator steps on the client's own slices.

    No label is read, unless the generator draws label maps too: then those of ``label_domains`` are.

    R1 is taken of the changed images that the discriminator is shown, at them, not through the augmentation.
    Deviation: a sample in two, not a batch in two, is told the semantic encoding, and the discriminator never is.

    Args:
        train_data_loader: batches with "image" (B, 1, S, S) in [-1, 1], "domain" (B,), "interval" (B, 2): the heights
            that each slice stands for, of which every update draws one; NaN where there are none. "label" (B, 1, S,
            S), -1 where unknown, if the generator draws label maps.
        network: generator, discriminator and EMA.
        optimizer: the generator's.
        discriminator_optimizer: the discriminator's.
        path_length: the path-length penalty with its running mean.
        augmentation: what the discriminator sees goes through it; None: nothing is changed.
        poses: moves real slices and their label maps, once and for all that follows: what the factory learns to draw
            is moved so, too; None: they stay as they are.
        rehearsal: holds the domains of a factory that the training goes on from; None: nothing is held.
        semantic: draws generated slices towards the mean of the client's own (refinement), or tells the generator's
            condition of it; None: neither.
        encoded_share: probability that a generated sample's condition is told, where it can be.
        r1_gamma: weight γ of R1 (γ / 2 multiplies the penalty).
        r1_every: discriminator steps between two R1 terms.
        path_length_weight: weight of the path-length term; 0 switches it off.
        path_length_every: generator steps between two path-length terms.
        path_length_shrink: the path-length term uses batch / shrink samples.
        style_mixing: probability that a sample takes W+ from two latents.
        ema_decay: decay of the EMA per update.
        growth: updates at coarser resolutions first, {divisor of the image size: updates}; empty trains the finest
            from the start. Counted by the generator's own buffer, which a federation keeps in step.
        fade: updates over which a new resolution is faded in.
        label_domains: indices of the domains whose label maps the discriminator is shown.
        supervised: the rest of ``UpdateTrainer``.
    """

    def __init__(
        self,
        *,
        network: FactoryNetwork,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        r1_gamma: float,
        path_length_weight: float,
        ema_decay: float,
        path_length: PathLengthPenalty | None = None,
        augmentation: DiscriminatorAugmentation | None = None,
        poses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        rehearsal: DomainRehearsal | None = None,
        semantic: SemanticAlignment | None = None,
        r1_every: int = 16,
        path_length_every: int = 4,
        path_length_shrink: int = 2,
        style_mixing: float = 0.9,
        encoded_share: float = 0.5,
        growth: Mapping[int, int] | None = None,
        fade: int = 100,
        label_domains: Sequence[int] = (),
        loss_function: Callable[[Tensor], Tensor] = generator_nonsaturating_loss,
        **supervised: Any,
    ) -> None:
        super().__init__(network=network, optimizer=optimizer, loss_function=loss_function, **supervised)
        self.discriminator_optimizer = discriminator_optimizer
        self.poses = poses
        self.path_length = (path_length or PathLengthPenalty()).to(self.state.device)
        self.augmentation = (augmentation or DiscriminatorAugmentation(target=None, images=1)).to(
            self.state.device
        )
        self.rehearsal = None if rehearsal is None else rehearsal.to(self.state.device)
        self.semantic = None if semantic is None else semantic.to(self.state.device)
        self.r1_gamma, self.r1_every = r1_gamma, r1_every
        self.path_length_weight, self.path_length_every = path_length_weight, path_length_every
        self.path_length_shrink = path_length_shrink
        self.style_mixing, self.encoded_share, self.ema_decay = style_mixing, encoded_share, ema_decay
        self.growth = Growth(growth or {}, network.generator.sizes, fade)
        generator = network.generator
        self.labels = (
            LabelChannels(generator.classes, label_domains, generator.domains, self.state.device)
            if generator.classes
            else None
        )
        self._fast = (self.fast_form(network.generator.synthesis), self.fast_form(network.discriminator))
        self._begun = False
        self._updates = 0  # the generator's own, known without waiting for the device
        self.add_event_handler(Events.EPOCH_STARTED, self._count)

    def _count(self) -> None:
        """At the start of an epoch: a checkpoint or a federation may have changed the generator since the last one.

        A federation that protects updates by noise keeps the generator's counter; then one's own updates count.
        """
        self._updates = max(int(self.network.generator.updates), self.state.iteration)
        if isinstance(self.network.discriminator, FrozenDiscriminator):
            self.network.discriminator.check_features()
        if not self.state.iteration:
            self.network.begin_average()  # a federation may have sent the generator alone
        if self.rehearsal is not None:
            kept = self.state.iteration or self._begun
            self.rehearsal.begin(None if kept else self.network.generator_ema)
        if self.semantic is not None:
            if not self.state.iteration:
                self.semantic.begin(self.network.discriminator)
            self.semantic.inform(self.network.generator, self.network.generator_ema)

    def keep_start(self, trained: bool = False) -> None:
        """Rehearse from the networks as they are now, whatever a federation's rounds send.

        Args:
            trained: they are those that the federation goes on from, not new ones.
        """
        self.network.begin_average()
        if self.rehearsal is not None:
            self.rehearsal.begin(self.network.generator_ema, trained)
        self._begun = True

    def _w_plus(self, domain: Tensor, position: Tensor) -> Tensor:
        """W+ (B, rows, w_dim) of random latents, with style mixing."""
        generator = self.network.generator
        told = [domain, position]
        if self.semantic is not None and self.semantic.informs:
            told.append(torch.rand(len(domain), device=domain.device) < self.encoded_share)
        z = torch.randn(2, len(domain), generator.z_dim, device=domain.device)
        first, second = (generator.w_plus(latent, *told) for latent in z)
        crossover = torch.randint(1, generator.rows, (len(domain), 1), device=domain.device)
        mixed = torch.rand(len(domain), 1, device=domain.device) < self.style_mixing
        rows = torch.arange(generator.rows, device=domain.device)
        return torch.where(((rows >= crossover) & mixed)[:, :, None], second, first)

    def _draw(
        self, w_plus: Tensor, level: int, fade: float, known: Tensor | None = None, exact: bool = False
    ) -> Tensor:
        """Images (B, 1, s, s) of W+, with label maps as further channels where these are ``known``.

        ``exact``: in float32, and such that gradients can be differentiated again.
        """
        plain = exact or fade < 1.0  # a compiled form would be made anew for each value of ``fade``
        synthesis = self.network.generator.synthesis if plain else self._fast[0]
        with self.lower_precision(not exact):
            output = synthesis(w_plus, level=level, fade=fade)
        return (
            output.image.float()
            if known is None
            else self.labels.drawn(output, self.growth.shrunk(known, level))
        )

    def _judge(
        self, image: Tensor, domain: Tensor, position: Tensor, fade: float, exact: bool = False
    ) -> Tensor:
        """Logits (B, heads) of images; ``exact`` as in :meth:`_draw`."""
        discriminator = self.network.discriminator if exact or fade < 1.0 else self._fast[1]
        with self.lower_precision(not exact):
            return discriminator(image, domain, position, fade).float()

    def _discriminator_step(
        self, real: Tensor, domain: Tensor, position: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        self.network.discriminator.requires_grad_(True)
        level, fade = self.growth.resolution(self._updates)
        with torch.no_grad():
            fake = self._draw(self._w_plus(domain, position), level, fade, known)
            real, fake = self.augmentation(self.growth.shrunk(real, level)), self.augmentation(fake)
        lazy = bool(self.r1_gamma) and (self.state.iteration - 1) % self.r1_every == 0
        real = real.detach().requires_grad_(lazy)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        fake_logits = self._judge(fake, domain, position, fade)
        fake_loss = discriminator_fake_loss(fake_logits)
        fake_loss.backward()  # before the real ones come, which halves the memory
        real_logits = self._judge(real, domain, position, fade, exact=lazy)
        loss = discriminator_real_loss(real_logits)
        losses = {
            "discriminator": fake_loss.detach() + loss.detach(),
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
            "overfitting": real_logits.detach().sign().mean(),
        }
        if self.augmentation.active:
            losses["augmentation_p"] = self.augmentation.p.clone()
            self.augmentation.observe(real_logits, self.state.iteration)
        if lazy:
            penalty = r1_penalty(real_logits, real)
            weight = self.r1_gamma / 2 * self.growth.pixels(level)  # in proportion to the number of pixels
            loss = loss + penalty * (weight * self.r1_every)
            losses["r1"] = penalty.detach()
        loss.backward()
        self.discriminator_optimizer.step()
        return losses

    def _generator_step(
        self, domain: Tensor, position: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        self.network.discriminator.requires_grad_(False)
        level, fade = self.growth.resolution(self._updates)
        fake = self._draw(self._w_plus(domain, position), level, fade, known)
        loss = self.loss_function(self._judge(self.augmentation(fake), domain, position, fade))
        losses = {"generator": loss.detach()}
        if self.semantic is not None and self.semantic.active and self.growth.is_finest(level):
            losses["semantic"] = self.semantic(fake[:, :1], domain)  # images, as sharp as those of the mean
            loss = loss + self.semantic.weight * losses["semantic"]
            losses["semantic"] = losses["semantic"].detach()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.path_length_weight and (self.state.iteration - 1) % self.path_length_every == 0:
            few = max(1, len(domain) // self.path_length_shrink)
            w_plus = self._w_plus(domain[:few], position[:few])
            image = self._draw(w_plus, level, fade, exact=True)
            penalty = self.path_length(image, w_plus)
            (penalty * (self.path_length_weight * self.path_length_every)).backward()
            losses["path_length"] = penalty.detach()
        if self.rehearsal is not None and self.rehearsal.active:
            held = self.rehearsal(self.network.generator)
            (held * self.rehearsal.weight).backward()
            losses["rehearsal"] = held.detach()
        self.optimizer.step()
        return losses

    def _posed(self, real: Tensor, batchdata: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Real slices and their labels, moved at random if wanted; slices of a batch without labels are their own."""
        label = batchdata.get("label", real).to(self.state.device, non_blocking=True)
        return (real, label) if self.poses is None else self.poses(real, label)

    def _iteration(self, engine: Engine, batchdata: dict[str, Tensor]) -> dict:
        """One update: a discriminator step, a generator step, the EMA."""
        if batchdata is None:
            raise ValueError("FactoryTrainer: expected a batch, found None; check the data loader")
        real, domain, interval = (
            batchdata[key].to(self.state.device, non_blocking=True) for key in ("image", "domain", "interval")
        )
        position = torch.lerp(*interval.unbind(1), torch.rand(len(domain), device=domain.device))
        real, label = self._posed(real, batchdata)
        known = None
        if self.labels is not None:
            real, known = self.labels.real(real, label, domain)
        self.network.train()
        losses = self._discriminator_step(real, domain, position, known)
        losses |= self._generator_step(domain, position, known)
        self.network.generator.remember(domain, position)
        self._updates += 1
        self.network.update_average(self.ema_decay)
        self.state.output = {Keys.LOSS: losses}
        return self.state.output
