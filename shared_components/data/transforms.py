"""Array steps between a decoded volume and the slices that a network sees; MONAI has the rest."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform
from monai.transforms.utils_pytorch_numpy_unification import percentile
from torch import Tensor

from shared_components.data.grids import same_grid
from shared_components.errors import InputError

_DOMINATED = 0.01  # percentiles that span less than this share of the whole range see the background only


def source_of(image: Tensor) -> str:
    """Name of the file that ``image`` was read from, for messages."""
    return str(image.meta.get("filename_or_obj", "image")) if isinstance(image, MetaTensor) else "image"


class AsVolumed(MapTransform):
    """Give a 2-D image ``(C, H, W)`` a slice axis, ``(C, H, W, 1)``; leave volumes as they are."""

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = as_volume(data[key])
        return data


def as_volume(image: MetaTensor) -> MetaTensor:
    """``(C, H, W)`` or ``(C, H, W, D)`` to ``(C, H, W, D)`` with a 4 × 4 affine.

    Raises:
        InputError: several channels (a time series, a colour picture), or more or fewer axes.
    """
    if image.shape[0] != 1 or image.ndim not in (3, 4):
        raise InputError(
            f"{source_of(image)}: one 2-D image or 3-D volume was expected, found {image.shape[0]} of "
            f"{'×'.join(map(str, image.shape[1:]))} voxels; save each volume as a file of "
            f"its own (in the repository: python scripts/prepare_data.py split {shlex.quote(source_of(image))})"
        )
    if image.ndim == 4:
        return image
    volume = MetaTensor(image.as_tensor()[..., None], meta=image.meta)
    volume.affine = to_affine_nd(3, image.affine)
    return volume


class SameGridd(MapTransform):
    """Check that every further key lies on the first key's grid, and give it that grid's exact affine.

    Files written by two programs differ in the last digits of their affine, which could make one of the two a
    voxel wider after resampling.
    """

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        image, *others = (data[key] for key in self.key_iterator(data))
        for other in others:
            if image.shape != other.shape:
                raise InputError(
                    f"{source_of(other)}: has {tuple(other.shape[1:])} voxels, its image "
                    f"{source_of(image)} has {tuple(image.shape[1:])}; resample the label to the image"
                )
            if not same_grid(other.shape[1:], other.affine, image.shape[1:], image.affine):
                raise InputError(
                    f"{source_of(other)}: lies elsewhere in space than its image {source_of(image)} "
                    "(another affine); resample the label to the image"
                )
            other.affine = image.affine.clone()
        return data


class SlicesAcrossd(MapTransform):
    """Check that the last axis can be the one across the slices: the other two have more than one voxel."""

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for key in self.key_iterator(dict(data)):
            height, width, _ = data[key].shape[1:]
            if min(height, width) == 1:
                raise InputError(
                    f"{source_of(data[key])}: its slices would be {height}×{width} voxels; set `orientation` "
                    "so that its last letter is the axis across the slices, or to 'native'"
                )
        return dict(data)


class ScalePercentilesd(MapTransform):
    """Clip each volume between two percentiles of its voxels and scale it to [-1, 1].

    Deviation: MONAI's ``ScaleIntensityRangePercentiles`` returns a constant (or amplified noise) when both
    percentiles fall into the background, as in sparse angiograms; here the percentiles are then taken of the
    voxels beyond the background on either side.

    Args:
        keys: images, ``(1, H, W, D)``.
        percentiles: lower and upper, in [0, 100].
    Raises:
        InputError: NaN or infinite voxels.
    """

    def __init__(
        self, keys: KeysCollection, percentiles: Sequence[float], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        lower, upper = percentiles
        if not 0 <= lower < upper <= 100:
            raise InputError(f"percentiles: expected 0 <= lower < upper <= 100, found {lower} and {upper}")
        self.percentiles = (float(lower), float(upper))

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            low, high = intensity_range(data[key], self.percentiles)
            scaled = (data[key].clamp(low, high) - low) / max(high - low, torch.finfo(torch.float32).tiny)
            data[key] = scaled * 2 - 1
        return data


def intensity_range(image: Tensor, percentiles: Sequence[float]) -> tuple[float, float]:
    """The two percentiles of ``image``, or of what lies beyond a background that fills nearly all of it.

    Returns:
        Lower and upper intensity; equal only for a constant image.
    Raises:
        InputError: NaN or infinite voxels.
    """
    voxels = image.as_tensor().flatten() if isinstance(image, MetaTensor) else image.flatten()
    if not torch.isfinite(voxels).all():
        raise InputError(
            f"{source_of(image)}: has NaN or infinite voxels; replace them before using the image"
        )
    low, high = (float(percentile(voxels, q)) for q in percentiles)
    if high - low >= _DOMINATED * float(voxels.max() - voxels.min()):
        return low, high
    below, above = voxels[voxels < low], voxels[voxels > high]
    if len(below):  # ranks, not interpolation, which one hot voxel among few would carry away
        low = float(below.sort().values[math.ceil(percentiles[0] / 100 * (len(below) - 1))])
    if len(above):
        high = float(above.sort().values[math.floor(percentiles[1] / 100 * (len(above) - 1))])
    return low, high
