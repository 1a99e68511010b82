"""Augmentation of training slices: geometry, and looks that no scanner of the federation has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.transforms import (
    Compose,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandomizableTransform,
)
from torch import Tensor

from shared_components.data import batch_transforms
from shared_components.errors import InputError


class RandRemapIntensityd(RandomizableTransform):
    """Send intensities through a random piecewise-linear curve, monotone or not.

    The curve has evenly spaced nodes on [-1, 1] whose heights are uniform in [-1, 1]; with probability
    ``monotone`` they are sorted, upwards or downwards. It makes a network tell tissues apart by shape and
    surroundings rather than by level.

    Args:
        key: entry of the dict, an image in [-1, 1], (1, H, W).
        prob: probability that an image is remapped.
        nodes: number of nodes of the curve.
        monotone: probability that the curve is monotone, rising and falling alike.
    """

    def __init__(self, key: str = "image", prob: float = 0.7, nodes: int = 6, monotone: float = 0.5) -> None:
        super().__init__(prob)
        self.key, self.nodes, self.monotone = key, nodes, monotone

    def randomize(self, data: object = None) -> Tensor | None:
        """Heights of the curve's nodes, or None when the image is left alone."""
        super().randomize(None)
        if not self._do_transform:
            return None
        heights = self.R.uniform(-1, 1, self.nodes)
        if self.R.rand() < self.monotone:
            heights.sort()
            heights = heights if self.R.rand() < 0.5 else heights[::-1].copy()
        return torch.as_tensor(heights, dtype=torch.float32)

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        heights = self.randomize()
        if heights is not None:
            data[self.key] = remap_intensity(data[self.key], heights)
        return data


def remap_intensity(image: Tensor, heights: Tensor) -> Tensor:
    """Send ``image`` in [-1, 1], any shape, through the curve with ``heights`` (N,) at evenly spaced nodes."""
    return batch_transforms.remapped(image[None], heights[None])[0]


class RandBlurd(RandGaussianSmoothd):
    """MONAI's random Gaussian blur for images in [-1, 1]: beyond the border lies what is empty, -1.

    Deviation: ``RandGaussianSmoothd`` takes 0 for what lies beyond, which is grey here and frames the slice.
    """

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        lifted = {key: value + 1 if key in self.keys else value for key, value in data.items()}
        return {
            key: value - 1 if key in self.keys else value for key, value in super().__call__(lifted).items()
        }


class SliceAugmentation:
    """Augments each slice of a batch with MONAI's random transforms, all seeded from torch's global generator.

    Rotation, flips along both axes and blur alone, the published augmentation for domain generalisation (which states
    no ranges), are ``looks=False, scale=0, shear=0, translation=0, flip_axis=(0, 1), blur=(0.1, 2)``.

    Args:
        geometry: rotation, scaling, shear, translation (image and label alike) and flips.
        looks: intensity remapping, bias field, blur and noise.
        remap: probability of an intensity remapping.
        flip_axis: in-plane axis of the flip, 0 (left-right in RAS), or several, each of which flips on its own with
            probability 0.5; None for no flip.
        rotation: largest rotation, radians.
        scale: largest relative change of size.
        noise: largest standard deviation of the noise, in units of the scaled intensity.
        shear: largest shear, as the tangent of its angle.
        translation: largest shift along each axis, pixels.
        blur: least and largest standard deviation, pixels, of a Gaussian blur of every second slice, whether there are
            ``looks`` or not; None for none beside that of ``looks``.
    Raises:
        InputError: an axis that slices do not have, or a blur that is no range.
    Source: Liu et al. 2021 (DGNet), Sec. 3.1.
    """

    def __init__(
        self,
        geometry: bool = True,
        looks: bool = True,
        remap: float = 0.7,
        flip_axis: int | Sequence[int] | None = 0,
        rotation: float = 0.3,
        scale: float = 0.15,
        noise: float = 0.15,
        shear: float = 0.1,
        translation: float = 3,
        blur: Sequence[float] | None = None,
    ) -> None:
        steps: list = []
        if geometry:
            steps.append(
                RandAffined(
                    ("image", "label"),
                    prob=0.8,
                    rotate_range=rotation,
                    shear_range=shear,
                    scale_range=scale,
                    translate_range=translation,
                    mode=("bilinear", "nearest"),
                    padding_mode="border",
                    cache_grid=False,
                )
            )
            steps += [RandFlipd(("image", "label"), prob=0.5, spatial_axis=axis) for axis in _axes(flip_axis)]
        if blur is not None:
            sigma = _sigmas(blur)
            steps.append(RandBlurd("image", prob=0.5, sigma_x=sigma, sigma_y=sigma))
        if looks:
            steps += [
                RandRemapIntensityd("image", prob=remap),
                RandBiasFieldd("image", prob=0.3, degree=2, coeff_range=(0.0, 0.2)),
                RandGaussianSmoothd("image", prob=0.3, sigma_x=(0.3, 1.2), sigma_y=(0.3, 1.2)),
                RandGaussianNoised("image", prob=0.5, std=noise, sample_std=True),
            ]
        self.transform = Compose(steps)

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """``image`` (B, 1, H, W) float and ``label`` (B, 1, H, W) integer to the same, augmented, where they lie."""
        if not self.transform.transforms:
            return image, label
        self.transform.set_random_state(seed=int(torch.randint(2**31 - 1, ())))
        for step in self.transform.transforms:
            image, label = IN_BATCHES[type(step)](step, image, label)
        return image, label


IN_BATCHES = {
    RandAffined: batch_transforms.affine,
    RandFlipd: batch_transforms.flip,
    RandBlurd: partial(batch_transforms.blur, empty=-1.0),
    RandRemapIntensityd: batch_transforms.remap,
    RandBiasFieldd: batch_transforms.bias_field,
    RandGaussianSmoothd: batch_transforms.blur,
    RandGaussianNoised: batch_transforms.noise,
}


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

    def __init__(self, augmentation: SliceAugmentation) -> None:
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
