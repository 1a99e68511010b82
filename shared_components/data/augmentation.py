"""Augmentation of training slices: geometry, and looks that no scanner of the federation has.

Looks keep a share of the contrast between a slice's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.engines import PrepareBatch
from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised
from torch import Tensor

from shared_components.data import batch_transforms
from shared_components.data.random_looks import (
    RandBiasd,
    RandBlurd,
    RandConvolutiond,
    RandExposured,
    RandRemapIntensityd,
)
from shared_components.errors import InputError

IN_BATCHES = {
    RandAffined: batch_transforms.affine,
    RandFlipd: batch_transforms.flip,
    RandBlurd: batch_transforms.blur,
    RandBiasd: batch_transforms.bias_field,
    RandRemapIntensityd: batch_transforms.look,
    RandExposured: batch_transforms.look,
    RandConvolutiond: batch_transforms.look,
    RandGaussianNoised: batch_transforms.noise,
}
FLOOR = 0.05  # of the deviation within classes, in units of the scaled intensity: what noise there always is
RING = 3  # pixels around all classes, of which the background's share counts
LEAST = 4  # pixels that a class has in a slice in which it counts
STEPS = 16  # of the share that is mixed back, from none to all


class SliceAugmentation:
    """Augments each slice of a batch with MONAI's random transforms, all seeded from torch's global generator.

    Rotation, flips along both axes and blur alone, the published augmentation for domain generalisation (which states
    no ranges), are ``looks="none", scale=0, shear=0, translation=0, flip_axis=(0, 1), blur=(0.1, 2)``.

    Args:
        geometry: rotation, scaling, shear, translation (image and label alike) and flips.
        looks: "strong": random intensity curves, bias field, blur and noise; "mild": gamma and gain, and less of
            bias field, blur and noise, so that no two levels change order; "none": nothing of it.
        remap: probability of an intensity curve among strong looks.
        flip_axis: in-plane axis of the flip, 0 (left-right in RAS), or several, each of which flips on its own with
            probability 0.5; None for no flip.
        rotation: largest rotation, radians.
        scale: largest relative change of size, along each axis on its own.
        noise: largest standard deviation of the noise, in units of the scaled intensity; None: 0.15 among strong
            looks, 0.05 among mild ones.
        shear: largest shear along each axis, as the tangent of its angle.
        translation: largest shift along each axis, pixels.
        blur: least and largest standard deviation, pixels, of a Gaussian blur of every second slice, whether there are
            ``looks`` or not; None for none beside that of ``looks``.
        convolution: probability of a look of random convolutions, before the others, whether there are ``looks`` or
            not.
        keep_contrast: share of the contrast between any two classes that all this leaves in a slice, see
            :func:`shared_components.data.augmentation.with_contrast`; 0: it may destroy it.
        classes: how many there are, background included; only ``keep_contrast`` wants to know.
    Raises:
        InputError: looks of another name, an axis that slices do not have, a blur that is no range, or a contrast to
            keep without classes.
    Source: Liu et al. 2021 (DGNet), Sec. 3.1.
    """

    def __init__(
        self,
        geometry: bool = True,
        looks: str = "strong",
        remap: float = 0.7,
        flip_axis: int | Sequence[int] | None = 0,
        rotation: float = 0.3,
        scale: float = 0.15,
        noise: float | None = None,
        shear: float = 0.1,
        translation: float = 3,
        blur: Sequence[float] | None = None,
        convolution: float = 0.0,
        keep_contrast: float = 0.0,
        classes: int | None = None,
    ) -> None:
        if looks not in LOOKS:
            raise InputError(f"looks: expected one of {', '.join(LOOKS)}, found {looks!r}")
        if not 0 <= keep_contrast <= 1 or (keep_contrast and (classes or 0) < 2):
            raise InputError(
                "keep_contrast: expected a share from 0 to 1, and with one above 0 two classes or more, found "
                f"{keep_contrast!r} and {classes!r}"
            )
        self.keep_contrast, self.classes = keep_contrast, classes
        moves = _moves(flip_axis, rotation, scale, shear, translation) if geometry else []
        steps: list = []
        if blur is not None:
            sigma = _sigmas(blur)
            steps.append(RandBlurd("image", prob=0.5, sigma_x=sigma, sigma_y=sigma))
        if convolution:
            steps.append(RandConvolutiond("image", prob=convolution))
        self._moves = len(moves)
        self.transform = Compose([*moves, *steps, *LOOKS[looks](remap, noise)])

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """``image`` (B, 1, H, W) float and ``label`` (B, 1, H, W) integer to the same, augmented, where they lie."""
        if not self.transform.transforms:
            return image, label
        self.transform.set_random_state(seed=int(torch.randint(2**31 - 1, ())))
        moves, looks = self.transform.transforms[: self._moves], self.transform.transforms[self._moves :]
        for step in moves:
            image, label = IN_BATCHES[type(step)](step, image, label)
        before = image
        for step in looks:
            image, label = IN_BATCHES[type(step)](step, image, label)
        if self.keep_contrast and looks:
            image = with_contrast(before, image, label, self.keep_contrast, self.classes)
        return image, label


def _moves(
    flip_axis: int | Sequence[int] | None, rotation: float, scale: float, shear: float, translation: float
) -> list:
    """Affine transform and flips, of image and label alike."""
    affine = RandAffined(
        ("image", "label"),
        prob=0.8,
        rotate_range=rotation,
        shear_range=(shear, shear),  # a single number would be the first axis' alone
        scale_range=(scale, scale),
        translate_range=(translation, translation),
        mode=("bilinear", "nearest"),
        padding_mode="border",
        cache_grid=False,
    )
    return [
        affine,
        *(RandFlipd(("image", "label"), prob=0.5, spatial_axis=axis) for axis in _axes(flip_axis)),
    ]


def _no_looks(remap: float, noise: float | None) -> list:
    return []


def _mild_looks(remap: float, noise: float | None) -> list:
    return [
        RandExposured("image"),
        RandBiasd("image", prob=0.3, degree=2, coeff_range=(-0.1, 0.1)),
        RandBlurd("image", prob=0.3, sigma_x=(0.2, 0.7), sigma_y=(0.2, 0.7)),
        RandGaussianNoised("image", prob=0.5, std=0.05 if noise is None else noise, sample_std=True),
    ]


def _strong_looks(remap: float, noise: float | None) -> list:
    return [
        RandRemapIntensityd("image", prob=remap),
        RandBiasd("image", prob=0.3, degree=2, coeff_range=(0.0, 0.2)),
        RandBlurd("image", prob=0.3, sigma_x=(0.3, 1.2), sigma_y=(0.3, 1.2)),
        RandGaussianNoised("image", prob=0.5, std=0.15 if noise is None else noise, sample_std=True),
    ]


LOOKS = {"none": _no_looks, "mild": _mild_looks, "strong": _strong_looks}


def _axes(flip_axis: int | Sequence[int] | None) -> list[int]:
    axes = [] if flip_axis is None else [flip_axis] if isinstance(flip_axis, int) else list(flip_axis)
    if any(axis not in (0, 1) for axis in axes) or len(set(axes)) < len(axes):
        raise InputError(f"flip_axis: expected 0, 1, both or null, found {flip_axis!r}")
    return axes


def _sigmas(blur: Sequence[float]) -> tuple[float, float]:
    sigmas = tuple(blur) if isinstance(blur, Sequence) else ()
    if len(sigmas) != 2 or not 0 <= sigmas[0] <= sigmas[1]:
        raise InputError(
            f"blur: expected the least and the largest standard deviation in pixels, found {blur!r}"
        )
    return sigmas


class AugmentedBatch(PrepareBatch):
    """Gives MONAI's ``SupervisedTrainer`` augmented images and labels of a :class:`SliceDataset` batch.

    Args:
        augmentation: called with (image, label).
    """

    def __init__(self, augmentation: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        self.augmentation = augmentation

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        image, label = self.augmentation(batchdata["image"], batchdata["label"])
        return image.to(device, non_blocking=non_blocking), label.to(device, non_blocking=non_blocking)


def with_contrast(before: Tensor, after: Tensor, label: Tensor, share: float, classes: int) -> Tensor:
    r"""``after``, mixed back towards ``before`` by the least of 17 shares that keeps the contrast of all classes.

    The contrast of two classes is :math:`|m_i - m_j| / \sqrt{(s_i^2 + s_j^2) / 2 + f^2}` with means m and
    deviations s of their pixels and a floor f. A mixture's means are linear and its variances quadratic in its share,
    so that all shares are tried without mixing. The difference counts without its sign: an inverted look passes. Of
    the background those pixels count that lie next to some class, since the rest (air, skull, other organs) has
    nothing to do with telling classes apart and would forbid any curve that changes its mean.

    Args:
        before: slices (B, 1, H, W).
        after: the same in another look.
        label: (B, 1, H, W) classes, -1 where unknown; a slice where fewer than two classes are known stays ``after``.
        share: of its contrast before, which each pair of classes keeps, 0 to 1.
        classes: how many there are, background included.
    """
    one_hot = _members(label, classes)  # (B, C, N)
    counts = one_hot.sum(2)  # (B, C)
    old, new = (part.flatten(2) for part in (before, after))  # (B, 1, N)

    def mean(values: Tensor) -> Tensor:
        return (one_hot @ values.transpose(1, 2))[..., 0] / counts.clamp(min=1)

    means = torch.stack([mean(new), mean(old)])  # (2, B, C)
    squares = torch.stack([mean(new * new), mean(old * old), mean(new * old)])
    variances = squares - torch.stack([means[0] ** 2, means[1] ** 2, means[0] * means[1]])
    back = torch.linspace(0, 1, STEPS + 1, device=after.device, dtype=after.dtype)
    contrasts = _contrasts(means, variances, back)  # (S, B, C, C)
    occurs = counts >= LEAST
    pairs = occurs[:, :, None] & occurs[:, None]
    kept = (contrasts >= share * contrasts[-1:] * (1 - 1e-6)) | ~pairs
    # the first of the shares; the last one always keeps it
    chosen = back[kept.flatten(2).all(2).int().argmax(0)]
    return torch.lerp(after, before, chosen[:, None, None, None])


def _members(label: Tensor, classes: int) -> Tensor:
    """Which pixels count for each class, (B, C, N) floats: all of a class, of the background those around classes."""
    found = label == torch.arange(classes, device=label.device)[:, None, None]
    near = F.max_pool2d((label > 0).float(), 2 * RING + 1, stride=1, padding=RING) > 0
    background = found[:, :1] & near
    return torch.cat([background, found[:, 1:]], dim=1).flatten(2).float()


def _contrasts(means: Tensor, variances: Tensor, back: Tensor) -> Tensor:
    """Contrasts (S, B, C, C) of mixtures, of which shares ``back`` (S,) are the old look.

    ``means`` (2, B, C) of new and old, ``variances`` (3, B, C) of new, of old, and their covariance.
    """
    back = back[:, None, None]
    mean = torch.lerp(means[0], means[1], back)
    forth = 1 - back
    variance = forth**2 * variances[0] + back**2 * variances[1] + 2 * back * forth * variances[2]
    pooled = (variance[..., None] + variance[..., None, :]).clamp(min=0) / 2 + FLOOR**2
    return (mean[..., None] - mean[..., None, :]).abs() / pooled.sqrt()
