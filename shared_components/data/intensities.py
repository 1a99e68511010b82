"""Grey values of a volume: air that is NaN, values that mean nothing or are far too bright, what a network sees."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.transforms.utils_pytorch_numpy_unification import percentile
from torch import Tensor

from shared_components.data.faults import Fault
from shared_components.data.frames import FRAME_KEY
from shared_components.data.transforms import source_of
from shared_components.data.volume_faults import refuse
from shared_components.errors import InputError

_DOMINATED = 0.01  # percentiles that span less than this share of the whole range see the background only
_HANDFUL = 2e-4  # share of the voxels, on either side, that may be anything
_ENOUGH = 2**22  # voxels to judge by; sorting those of a large CT would take longer than segmenting it
_BEYOND = 1e30  # grey values above, or below its negative, are none: float32, in which images are read, ends at 3.4e38


class AirForNaNd(MapTransform):
    """Give NaN around the body, as SPM and fMRIPrep write it, the value of air: 0, or the darkest where that is lower.

    Args:
        keys: images, ``(1, H, W, D)``.
        blank: let images pass of which all known voxels are equal; a network finds something in those, too. Frames of
            a time series, some of which may be empty, pass anyway.
    Raises:
        InputError: voxels that are infinite or so large that they mean nothing, NaN that is no background, or an image
            that shows nothing.
    """

    def __init__(self, keys: KeysCollection, blank: bool = True, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.blank = blank

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            source, voxels = source_of(data[key]), _plain(data[key])
            refuse(voxel_faults(source, voxels))
            refuse(() if self.blank or FRAME_KEY in data else constant_faults(source, voxels))
            data[key] = with_air(data[key])
        return data


def with_air(image: Tensor) -> Tensor:
    """``image`` with the value of air in place of NaN; itself if there is none. Where all is NaN, all becomes 0."""
    voxels = _plain(image)
    nan = torch.isnan(voxels)
    if not nan.any():
        return image
    filled = voxels.masked_fill(nan, min(0.0, 0.0 if nan.all() else float(voxels[~nan].min())))
    return MetaTensor(filled).copy_meta_from(image) if isinstance(image, MetaTensor) else filled


class _ByPercentilesd(MapTransform):
    """Changes each image by what :func:`intensity_range` finds.

    Args:
        keys: images, ``(1, H, W, D)``, all finite.
        percentiles: lower and upper, in [0, 100].
    """

    def __init__(
        self, keys: KeysCollection, percentiles: Sequence[float], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.percentiles = ordered(percentiles)

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self._changed(data[key])
        return data

    @abstractmethod
    def _changed(self, image: Tensor) -> Tensor:
        """What becomes of an image."""


class CutOutliersd(_ByPercentilesd):
    """Cut what lies more than a whole range beyond :func:`intensity_range`, before blurring spreads it.

    A voxel of 10⁹ would be smeared over its neighbours, and no percentile taken afterwards would be of tissue. Most
    images have nothing there and stay as they are.

    Args:
        keys: images, ``(1, H, W, D)``, all finite.
        percentiles: lower and upper, in [0, 100].
    """

    def _changed(self, image: Tensor) -> Tensor:
        step = math.ceil((image.numel() / _ENOUGH) ** (1 / 3))
        low, high = intensity_range(image[:, ::step, ::step, ::step], self.percentiles)
        if high <= low:  # the few voxels that are looked at are all background
            return image
        limit = torch.finfo(torch.float32).max
        return image.clamp(max(low - (high - low), -limit), min(high + (high - low), limit))


def ordered(percentiles: Sequence[float]) -> tuple[float, float]:
    """Two percentiles.

    Raises:
        InputError: not in order within [0, 100].
    """
    lower, upper = percentiles
    if not 0 <= lower < upper <= 100:
        raise InputError(f"percentiles: expected 0 <= lower < upper <= 100, found {lower} and {upper}")
    return float(lower), float(upper)


class ScalePercentilesd(_ByPercentilesd):
    """Clip each volume between two percentiles of its voxels and scale it to [-1, 1].

    Deviation: MONAI's ``ScaleIntensityRangePercentiles`` returns a constant (or amplified noise) when both
    percentiles fall into the background, as in sparse angiograms; here the percentiles are then taken of the
    voxels beyond the background on either side.

    Args:
        keys: images, ``(1, H, W, D)``.
        percentiles: lower and upper, in [0, 100].
    Raises:
        InputError: NaN or infinite voxels, of the kind that :class:`AirForNaNd` has left.
    """

    def _changed(self, image: Tensor) -> Tensor:
        low, high = intensity_range(image, self.percentiles)
        scaled = (image.clamp(low, high) - low) / max(high - low, torch.finfo(torch.float32).tiny)
        return scaled * 2 - 1


def intensity_range(image: Tensor, percentiles: Sequence[float]) -> tuple[float, float]:
    """The two percentiles of ``image``, or of what lies beyond a background that fills nearly all of it.

    Whether it fills nearly all is judged without a handful of voxels on either side: a few of 10⁹ make no background
    of the rest.

    Returns:
        Lower and upper intensity; equal only for a constant image.
    Raises:
        InputError: NaN or infinite voxels.
    """
    voxels = _plain(image).flatten()
    if not torch.isfinite(voxels).all():
        raise InputError(
            f"{source_of(image)}: has NaN or infinite voxels; replace them before using the image"
        )
    low, high = (float(percentile(voxels, q)) for q in percentiles)
    if high - low >= _DOMINATED * float(voxels.max() - voxels.min()):
        return low, high
    if high > low and high - low >= _DOMINATED * _inner_range(voxels):
        return low, high
    below, above = voxels[voxels < low], voxels[voxels > high]
    if len(below):  # ranks, not interpolation, which one hot voxel among few would carry away
        low = float(below.sort().values[math.ceil(percentiles[0] / 100 * (len(below) - 1))])
    if len(above):
        high = float(above.sort().values[math.floor(percentiles[1] / 100 * (len(above) - 1))])
    return low, high


def _inner_range(voxels: Tensor) -> float:
    """Range of the voxels ``(n,)`` without a handful on either side: ten, or more of a large volume."""
    handful = 1 + int(min(max(10, _HANDFUL * len(voxels)), len(voxels) / 400))
    top, bottom = (voxels.topk(handful, largest=largest).values[-1] for largest in (True, False))
    return float(top - bottom)


def _plain(image: Tensor) -> Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def voxel_faults(path: str | os.PathLike, voxels: Tensor) -> Iterator[Fault]:
    """Grey values that mean nothing.

    Args:
        path: for the message.
        voxels: ``(1, X, Y, Z)``; NaN is let pass where it is the background, see :func:`surrounded_by_nan`.
    """
    cure = (
        "replace them (outside the body by the value of air: 0 of most images, -1000 of CT) and save it again"
    )
    beyond, nan = (int(bad.sum()) for bad in ((voxels > _BEYOND) | (voxels < -_BEYOND), torch.isnan(voxels)))
    if beyond:  # of float64 in the file, what float32 cannot hold has become infinite
        fault = f"{beyond} of {voxels.numel()} voxels are infinite or beyond ±{_BEYOND:g}, like a fill value"
        yield Fault(str(path), fault, cure)
    elif nan and not surrounded_by_nan(voxels):
        yield Fault(str(path), f"{nan} of {voxels.numel()} voxels are NaN", cure)


def constant_faults(path: str | os.PathLike, voxels: Tensor) -> Iterator[Fault]:
    """An image that shows nothing: all its voxels, but for air that is NaN, are equal.

    Args:
        path: for the message.
        voxels: ``(1, X, Y, Z)``.
    """
    known = voxels[~torch.isnan(voxels)]
    if known.numel() and known.min() == known.max():
        outside = "" if known.numel() == voxels.numel() else " or NaN"
        fault = f"constant: every voxel is {float(known.min()):g}{outside}"
        yield Fault(str(path), fault, "export the image again or leave it out")


def surrounded_by_nan(voxels: Tensor) -> bool:
    """Whether NaN stands for air, as SPM and fMRIPrep write it: on half or more of the outermost voxels.

    Args:
        voxels: ``(1, X, Y, Z)``; the two faces of an axis of one or two voxels are no border, nor, of three axes, those
            with the least NaN: a body goes on beyond the first and last slice of a slab.
    """
    nan = torch.isnan(voxels[0])
    faces = [
        torch.cat([nan.select(axis, end).flatten() for end in (0, -1)])
        for axis in range(3)
        if nan.shape[axis] > 2
    ]
    faces.sort(key=lambda face: float(face.float().mean()), reverse=True)
    border = torch.cat(faces[:2]) if faces else nan.new_zeros(1)
    return bool(border.float().mean() >= 0.5) and not bool(nan.all())
