"""From a file to a volume whose last axis runs over the slices that a 2-D network sees, the right way up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    InvertibleTransform,
    MapTransform,
    Orientation,
    Orientationd,
    ResizeWithPadOrCropd,
    Transform,
)
from monai.transforms.spatial.functional import orientation as turned
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from torch import Tensor

from shared_components.data.frames import LoadImageFramed
from shared_components.data.intensities import AirForNaNd, CutOutliersd, ScalePercentilesd
from shared_components.data.label_maps import AROUND, SettlePaddingd, UnknownVoxelsd, WholeLabelsd
from shared_components.data.resampling import AntiAliasd, InPlaneSpacingd, SmoothInPlaneSpacingd
from shared_components.data.transforms import AsVolumed, SameGridd, SlicesAcrossd
from shared_components.data.volume_faults import RequireGridd
from shared_components.errors import InputError

THICK = 2  # times the other edges: then a volume was taken in slices across its longest edge
NATIVE = ("ASR", "RSP", "RAS")
"""Axis codes of slices across R–L, A–P and S–I: in-plane to the right, the front or the top, right-handed."""


def volume_transforms(
    keys: Sequence[str],
    size: int,
    spacing: float | Sequence[float] | None,
    orientation: str | None = "RAS",
    percentiles: Sequence[float] = (0.5, 99.5),
    crop: bool = True,
    anti_aliasing: bool = True,
    one_step: bool = False,
    blank: bool = True,
) -> Compose:
    """Read, orient, resample in-plane, scale to [-1, 1] and crop or pad; ``Invertd`` undoes the geometry.

    Keys that an item lacks are passed over. A key with "label" in its name is a label map: nearest neighbour,
    padded with 0, never scaled, -1 where nobody annotated (see :mod:`.label_maps`; slices that are wholly so are
    padded with -1). Images are padded with -1. A 2-D image becomes a volume of one slice. Where an
    item states ``frame``, that frame of its 4-D files is the volume.

    Args:
        keys: ``("image", "label")`` for training, ``("image",)`` for inference.
        size: height and width of a slice, pixels.
        spacing: in-plane voxel size, mm, one number or ``(first, second)``; ``None`` keeps the file's own.
            The slice axis is never resampled.
        orientation: axis codes such as ``"RAS"``; slices lie along the last one (``"RAS"``: axial, ``"ASR"``:
            sagittal, ``"RSA"``: coronal). ``None`` or ``"native"`` keeps the slices of the file, which are
            turned and flipped so that the same anatomy is the same way up (see :func:`native_axes`).
        percentiles: intensities of each volume that become -1 and 1.
        crop: crop and pad the middle of each slice to ``size``; otherwise slices keep their shape.
        anti_aliasing: blur images before they are made coarser.
        one_step: blur and resample at once, without labels: faster, and equal but for rounding.
        blank: let images pass of which all voxels are equal, as a factory may draw them.
    Returns:
        Transform of a dict of paths to a dict of ``(1, size, size, D)`` float32 ``MetaTensor``.
    """
    keys = (keys,) if isinstance(keys, str) else tuple(keys)
    images = tuple(key for key in keys if "label" not in key)
    labels = tuple(key for key in keys if key not in images)
    steps: list[Transform] = [
        LoadImageFramed(keys, dtype=np.float32, allow_missing_keys=True),
        EnsureChannelFirstd(keys, allow_missing_keys=True),
        AsVolumed(keys, allow_missing_keys=True),
        RequireGridd(keys, allow_missing_keys=True),
        *(
            [step(labels, allow_missing_keys=True) for step in (WholeLabelsd, UnknownVoxelsd)]
            if labels
            else []
        ),
        SameGridd(keys, allow_missing_keys=True),
        AirForNaNd(images, blank, allow_missing_keys=True),
    ]
    axcodes = slice_axes(orientation)
    if axcodes is None:
        steps.append(NativeOrientationd(keys, allow_missing_keys=True))
    else:
        steps.append(Orientationd(keys, axcodes=axcodes, labels=None, allow_missing_keys=True))
    steps.append(SlicesAcrossd(keys, allow_missing_keys=True))
    if spacing is not None:
        steps.append(CutOutliersd(images, percentiles, allow_missing_keys=True))
        steps += _resampling(keys, images, in_plane_spacing(spacing), anti_aliasing, one_step)
    steps.append(ScalePercentilesd(images, percentiles, allow_missing_keys=True))
    if crop:
        steps += [_pad_or_crop(key, size, -1.0 if key in images else float(AROUND)) for key in keys]
        steps += [SettlePaddingd(labels, allow_missing_keys=True)] if labels else []
    return Compose(steps)


def _resampling(
    keys: tuple[str, ...],
    images: tuple[str, ...],
    spacing: tuple[float, float],
    blurred: bool,
    one_step: bool,
) -> list[Transform]:
    """Images and label maps to an in-plane voxel size."""
    if one_step:
        return [SmoothInPlaneSpacingd(images, spacing, allow_missing_keys=True)]
    smoothing = [AntiAliasd(images, spacing, allow_missing_keys=True)] if blurred else []
    modes = ["bilinear" if key in images else "nearest" for key in keys]
    return [*smoothing, InPlaneSpacingd(keys, spacing, modes, allow_missing_keys=True)]


def _pad_or_crop(key: str, size: int, value: float) -> ResizeWithPadOrCropd:
    return ResizeWithPadOrCropd((key,), (size, size, -1), allow_missing_keys=True, value=value)


def long_axis(edges: Sequence[float] | np.ndarray) -> int | None:
    """The axis of the edge (mm) that is ``THICK`` times the others or more, across which slices were taken; or None."""
    longest = int(np.argmax(edges))
    return longest if edges[longest] >= THICK * np.delete(np.asarray(edges), longest).max() else None


def slice_axes(orientation: str | None) -> str | None:
    """Check three axis codes; ``None`` for the file's own slices.

    Raises:
        InputError: not one letter each of R/L, A/P and S/I.
    """
    if orientation is None or orientation == "native":
        return None
    axes = [
        next((i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair), -1) for code in orientation
    ]
    if sorted(axes) != [0, 1, 2]:
        raise InputError(
            f"orientation: expected 'native' or one letter each of R/L, A/P and S/I (as in 'RAS'), "
            f"found {orientation!r}"
        )
    return orientation


def in_plane_spacing(spacing: float | Sequence[float]) -> tuple[float, float]:
    """One or two voxel sizes (mm) as two.

    Raises:
        InputError: not one or two positive numbers.
    """
    sizes = (spacing, spacing) if isinstance(spacing, (int, float)) else tuple(spacing)
    if len(sizes) != 2 or not all(mm > 0 for mm in sizes):
        raise InputError(f"spacing: expected one or two positive numbers (mm) or null, found {spacing!r}")
    return float(sizes[0]), float(sizes[1])


def native_axes(affine: np.ndarray) -> str:
    """Axis codes that keep a file's third axis across the slices and show the same anatomy the same way up.

    Each of the file's axes stands for the body axis that it is closest to. The two in a slice are ordered right,
    front, top, and point there; the slices then run so that the three axes are right-handed, as R, A and S are. So
    short-axis hearts, whose slices lie across no axis of the body, look the same whether their long axis is closer to
    the right or to the front.

    Args:
        affine: voxel to world (RAS), mm, ``(4, 4)``.
    """
    return NATIVE[int(io_orientation(affine)[2, 0])]


class NativeOrientationd(MapTransform, InvertibleTransform):
    """Turn each volume to its :func:`native_axes`; its slices stay those of the file.

    Args:
        keys: volumes ``(1, X, Y, Z)`` in RAS space.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.orientation = Orientation("RAS", labels=None)  # whose trace and inverse are ours

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self._turned(data[key])
        return data

    def inverse(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self.orientation.inverse(data[key])
        return data

    def _turned(self, image: MetaTensor) -> MetaTensor:
        affine = np.asarray(image.affine, dtype=np.float64)
        turn = ornt_transform(io_orientation(affine), axcodes2ornt(native_axes(affine)))
        return turned(image, affine, turn, lazy=False, transform_info=self.orientation.get_transform_info())
