"""Adaptive discriminator augmentation: a discriminator with few images to learn from sees them changed.

The random changes are such that a generator does not learn to draw them when its discriminator alone sees them. Each
takes images (B, C, S, S) and the probability p, a scalar tensor, with which a sample is changed; whether it is depends
on no value that the host would have to read. A sample that is left alone keeps its bits.

Source: Karras et al. 2020, arXiv 2006.06676, Appendix B (the distributions) and Sec. 2.2 (why nothing leaks).
Deviation: one channel, so neither hue nor saturation; a windowed sinc in place of a symlet against aliasing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.tensors import summed

GEOMETRY = ("scale", "rotation", "anisotropy", "translation")  # share one resampling
SHIFT = (
    0.125  # of the image's size: largest integer shift, and standard deviation of the fractional translation
)
SCALE = 0.2  # octaves, standard deviation of the scale and of the anisotropy
BRIGHTNESS = 0.2  # standard deviation, where black is -1 and white 1
CONTRAST = 0.5  # octaves, standard deviation
NOISE = 0.1  # standard deviation of the noise's own standard deviation
TAPS = 12  # of the filter at twice the resolution


def happens(p: Tensor, batch: int) -> Tensor:
    """(B,) booleans, each true with probability ``p``; never at 0."""
    return torch.rand(batch, device=p.device) < p


def _chosen(mask: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(mask[:, None, None, None], changed, images)


def flip(images: Tensor, p: Tensor) -> Tensor:
    """Left and right, top and bottom swapped, each of them for one chosen sample in two."""
    chosen = happens(p, len(images))
    for axis in (2, 3):
        images = _chosen(chosen & happens(torch.full_like(p, 0.5), len(images)), images.flip(axis), images)
    return images


def turn(images: Tensor, p: Tensor) -> Tensor:
    """Turned by 0, 90, 180 or 270 degrees."""
    chosen = happens(p, len(images))
    quarters = torch.randint(4, (len(images),), device=images.device)
    for quarter in (1, 2, 3):
        images = _chosen(chosen & (quarters == quarter), images.rot90(quarter, (2, 3)), images)
    return images


def shift(images: Tensor, p: Tensor) -> Tensor:
    """Moved by whole pixels, up to an eighth of the size; what comes in is mirrored at the border."""
    size, batch = images.shape[-1], len(images)
    chosen = happens(p, batch)
    fraction = (torch.rand(2, batch, device=images.device) * 2 - 1) * SHIFT
    pixels = (fraction * size).round().long() * chosen  # (2, B)
    places = _mirrored(torch.arange(size, device=images.device) - pixels[:, :, None], size)  # (2, B, S)
    images = images.gather(2, places[0, :, None, :, None].expand_as(images))
    return images.gather(3, places[1, :, None, None, :].expand_as(images))


def brightness(images: Tensor, p: Tensor) -> Tensor:
    """A constant added."""
    chosen = happens(p, len(images))
    added = torch.randn(len(images), 1, 1, 1, device=images.device) * BRIGHTNESS
    return _chosen(chosen, images + added, images)


def contrast(images: Tensor, p: Tensor) -> Tensor:
    """Scaled about the middle grey."""
    chosen = happens(p, len(images))
    factor = torch.exp2(torch.randn(len(images), 1, 1, 1, device=images.device) * CONTRAST)
    return _chosen(chosen, images * factor, images)


def noise(images: Tensor, p: Tensor) -> Tensor:
    """White noise of a random strength."""
    chosen = happens(p, len(images))
    strength = torch.randn(len(images), 1, 1, 1, device=images.device).abs() * NOISE
    return _chosen(chosen, images + strength * torch.randn_like(images), images)


def move(images: Tensor, p: Tensor, names: Collection[str] = GEOMETRY) -> Tensor:
    """The transformations of ``names`` among :data:`GEOMETRY`, by one resampling of the samples that have any."""
    matrix, offset, chosen = random_affine(p, len(images), names)
    return _chosen(chosen, resampled(images, matrix, offset), images)


def random_affine(p: Tensor, batch: int, names: Collection[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Where a moved image takes its pixels from: x = matrix · (output + offset).

    Scale, first rotation, anisotropy, second rotation, translation; every distribution is that of its own inverse.
    A rotation comes first or second, each with 1 - √(1 - p), so that a sample is turned with probability p.

    Returns:
        (B, 2, 2), (B, 2) in half image sizes, and (B,): whether anything was done to a sample.
    """
    device = p.device
    matrix = torch.eye(2, device=device).expand(batch, 2, 2)
    offset = torch.zeros(batch, 2, device=device)
    chosen = torch.zeros(batch, dtype=torch.bool, device=device)
    if "scale" in names:
        now = happens(p, batch)
        matrix, chosen = matrix * _octaves(now)[:, None, None], chosen | now
    for name in ("rotation", "anisotropy", "rotation"):
        if name in names:
            now = happens(1 - (1 - p).sqrt() if name == "rotation" else p, batch)
            matrix, chosen = matrix @ (_rotation(now) if name == "rotation" else _stretch(now)), chosen | now
    if "translation" in names:
        now = happens(p, batch)
        offset, chosen = torch.randn(batch, 2, device=device) * (2 * SHIFT) * now[:, None], chosen | now
    return matrix, offset, chosen


def _octaves(chosen: Tensor) -> Tensor:
    return torch.exp2(torch.randn(len(chosen), device=chosen.device) * SCALE * chosen)


def _rotation(chosen: Tensor) -> Tensor:
    angle = (torch.rand(len(chosen), device=chosen.device) * 2 - 1) * math.pi * chosen
    rows = [angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
    return torch.stack(rows, dim=1).view(-1, 2, 2)


def _stretch(chosen: Tensor) -> Tensor:
    factor = _octaves(chosen)
    return torch.diag_embed(torch.stack([factor, 1 / factor], dim=1))


def resampled(images: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Images (B, C, S, S) whose pixel at x shows what was at ``matrix`` · (x + ``offset``), mirrored at the border.

    Interpolated at twice the resolution and brought back by a low-pass filter, so that neither shrinking to a half
    nor turning aliases. The centre is 0, the borders lie at -1 and 1.
    """
    size, margin = images.shape[-1], TAPS // 2 - 1
    axis = (torch.arange(-margin, 2 * size + margin, device=images.device) + 0.5) / size - 1
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).flatten(0, 1)  # (N², 2), x first
    grid = (places + offset[:, None]) @ matrix.transpose(1, 2)
    grid = grid.view(len(images), len(axis), len(axis), 2).to(images.dtype)
    fine = F.grid_sample(_twice(images), grid, "bilinear", padding_mode="reflection", align_corners=False)
    return _half(fine)


def _twice(images: Tensor) -> Tensor:
    """(B, C, S, S) to (B, C, 2S, 2S)."""
    margin, channels = 3, images.shape[1]
    size = images.shape[-1]
    places = _mirrored(torch.arange(-margin, size + margin, device=images.device), size)
    images = images[:, :, places][:, :, :, places]
    taps = 2 * _low_pass(images).expand(channels, 1, TAPS)
    padding = 2 * margin + TAPS // 2 - 1
    for axis in (2, 3):
        kernel, stride, cut = _along(axis, taps, 2, padding)
        images = F.conv_transpose2d(images, kernel, stride=stride, padding=cut, groups=channels)
    return images


def _half(images: Tensor) -> Tensor:
    """(B, C, 2S + TAPS - 2, …) to (B, C, S, S)."""
    channels = images.shape[1]
    taps = _low_pass(images).expand(channels, 1, TAPS)
    for axis in (2, 3):
        kernel, stride, _ = _along(axis, taps, 2, 0)
        images = F.conv2d(images, kernel, stride=stride, groups=channels)
    return images


def _along(
    axis: int, taps: Tensor, stride: int, padding: int
) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding of a filter along the rows (2) or the columns (3)."""
    if axis == 2:
        return taps[..., None], (stride, 1), (padding, 0)
    return taps[..., None, :], (1, stride), (0, padding)


def _low_pass(like: Tensor) -> Tensor:
    """Lanczos' windowed sinc (TAPS,) of sum 1 that halves the bandwidth."""
    place = (torch.arange(TAPS, device=like.device, dtype=like.dtype) - (TAPS - 1) / 2) / 2
    taps = torch.sinc(place) * torch.sinc(place / (TAPS // 4))
    return taps / taps.sum()


def _mirrored(places: Tensor, size: int) -> Tensor:
    """Pixel numbers of any size to those of an image that goes on mirrored, its border pixels twice."""
    places = places.remainder(2 * size)
    return torch.minimum(places, 2 * size - 1 - places)


EXACT = {"flip": flip, "turn": turn, "shift": shift}
INTENSITIES = {
    "brightness": brightness,
    "contrast": contrast,
    "noise": noise,
}
TRANSFORMS = (*EXACT, *GEOMETRY, *INTENSITIES)


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
                f"ada_transforms: expected names among {', '.join(TRANSFORMS)}, no two alike, found {list(transforms)}"
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
        geometry = [name for name in self.transforms if name in GEOMETRY]
        if geometry:
            images = move(images, self.p, geometry)
        for name in self.transforms:
            if name in INTENSITIES:
                image, labels = images[:, :1], images[:, 1:]
                images = torch.cat([INTENSITIES[name](image, self.p), labels], 1)
        return images

    @torch.no_grad()
    def observe(self, real_logits: Tensor, update: int) -> None:
        """Take in what the discriminator says of a batch of real images, and adapt p where it is time, to what it says
        of those of all processes.

        Args:
            real_logits: (B, heads), of changed real images.
            update: number of the update, from 1.
        """
        if not self.active:
            return
        self.signs += real_logits.sign().mean(dim=1).sum()
        self.seen += len(real_logits)
        if update % self.every == 0:
            signs, seen = summed(torch.stack([self.signs, self.seen]))
            self.p += (signs / seen - self.target).sign() * seen / self.images
            self.p.clamp_(0.0, self.limit)
            self.signs.zero_()
            self.seen.zero_()
