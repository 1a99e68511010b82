"""Adaptive discriminator augmentation: a discriminator with few images to learn from sees them changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks import nonleaking_transforms as nonleaking

EXACT = {"flip": nonleaking.flip, "turn": nonleaking.turn, "shift": nonleaking.shift}
INTENSITIES = {
    "brightness": nonleaking.brightness,
    "contrast": nonleaking.contrast,
    "noise": nonleaking.noise,
}
TRANSFORMS = (*EXACT, *nonleaking.GEOMETRY, *INTENSITIES)


class DiscriminatorAugmentation(nn.Module):
    r"""Changes all that a discriminator sees, real and generated, as much as it overfits.

    Each transformation is applied to a sample with the same probability p. The overfitting is
    :math:`r_t = E[\mathrm{sign}\,D(x)]` over real images: 0 for a discriminator that cannot tell, 1 for one that knows
    every image. Every few updates p grows where r_t is above the target and falls where it is below, by the share of
    ``images`` that were seen in between. Gradients pass through to the generator. While a sample is left unchanged
    often enough the generator learns undistorted images alone, turned and mirrored anatomy included: p stays at
    ``limit`` or below.

    Buffers: ``p``, and signs and images since it was last adapted. Save them with the checkpoint; they belong to the
    client's own images and are no part of what a federation averages.

    Args:
        transforms: which of :data:`TRANSFORMS`; their order is fixed.
        target: r_t that p is steered to; None switches everything off: nothing is changed or drawn.
        images: real images over which p may go from 0 to 1.
        every: updates between two adaptations.
        limit: p at most.
    Raises:
        InputError: an unknown transformation, or one named twice.
    Source: Karras et al. 2020, arXiv 2006.06676, Secs. 2 and 3.
    Deviation: p is also limited above, to where nothing leaks.
    """

    def __init__(
        self,
        transforms: Sequence[str] = TRANSFORMS,
        *,
        target: float | None,
        images: int,
        every: int = 4,
        limit: float = 0.8,
    ) -> None:
        super().__init__()
        unknown = [name for name in transforms if name not in TRANSFORMS]
        if unknown or len(set(transforms)) != len(transforms):
            raise InputError(
                f"transforms: expected names among {', '.join(TRANSFORMS)}, no two alike, found {list(transforms)}"
            )
        self.transforms = tuple(name for name in TRANSFORMS if name in transforms)
        self.target, self.images, self.every, self.limit = target, images, every, limit
        for name in ("p", "signs", "seen"):
            self.register_buffer(name, torch.zeros(()))

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        return self.target is not None and bool(self.transforms)

    def forward(self, images: Tensor) -> Tensor:
        """``images`` (B, C, S, S), in [-1, 1], to what the discriminator is shown; bit for bit the same at p = 0.

        Channels after the first are label maps: they move with the image, and keep their values.
        """
        if not self.active:
            return images
        for name in self.transforms:
            if name in EXACT:
                images = EXACT[name](images, self.p)
        geometry = [name for name in self.transforms if name in nonleaking.GEOMETRY]
        if geometry:
            images = nonleaking.move(images, self.p, geometry)
        for name in self.transforms:
            if name in INTENSITIES:
                image, labels = images[:, :1], images[:, 1:]
                images = torch.cat([INTENSITIES[name](image, self.p), labels], 1)
        return images

    @torch.no_grad()
    def observe(self, real_logits: Tensor, update: int) -> None:
        """Take in what the discriminator says of a batch of real images, and adapt p where it is time.

        Args:
            real_logits: (B, heads), of changed real images.
            update: number of the update, from 1.
        """
        if not self.active:
            return
        self.signs += real_logits.sign().mean(dim=1).sum()
        self.seen += len(real_logits)
        if update % self.every == 0:
            overfitting = self.signs / self.seen
            self.p += (overfitting - self.target).sign() * self.seen / self.images
            self.p.clamp_(0.0, self.limit)
            self.signs.zero_()
            self.seen.zero_()
