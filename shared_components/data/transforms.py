"""Array steps between a decoded volume and the slices that a network sees, and after them; MONAI has the rest."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform
from nibabel.orientations import io_orientation
from scipy import ndimage
from torch import Tensor

from shared_components.data.faults import Fault, UnfitFile
from shared_components.data.grids import same_grid
from shared_components.errors import InputError


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
        UnfitFile: several channels (a time series, a colour picture), or more or fewer axes.
    """
    for fault in dimension_faults(source_of(image), image):
        raise UnfitFile(fault)
    if image.ndim == 4:
        return image
    volume = MetaTensor(image.as_tensor()[..., None], meta=image.meta)
    volume.affine = to_affine_nd(3, image.affine)
    return volume


def dimension_faults(path: str | os.PathLike, image: Tensor) -> Iterator[Fault]:
    """What keeps ``(C, …)`` from being one 2-D image or 3-D volume."""
    channels, *spatial = image.shape
    size = "×".join(map(str, spatial))
    if len(spatial) == 3 and channels > 1:
        fault = f"4-D: {channels} volumes (or channels) of {size} voxels, expected one 3-D volume"
        command = f"python scripts/prepare_data.py split {shlex.quote(str(path))}"
        cure = f"save each volume as a file of its own and name the files you want (in the repository: {command})"
        yield Fault(str(path), fault, cure)
    elif len(spatial) == 2 and channels > 1:
        fault = f"a picture with {channels} colour channels, expected grey levels"
        yield Fault(str(path), fault, "save it as 8- or 16-bit grey scale")
    elif len(spatial) not in (2, 3) or channels != 1:
        fault = f"{len(spatial) + (channels > 1)}-D ({size}), expected a 2-D image or a 3-D volume"
        yield Fault(str(path), fault, "export one volume a file")


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
    """Check that the last axis can be the one across the slices, see :func:`slice_faults`."""

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for key in self.key_iterator(dict(data)):
            for fault in slice_faults(source_of(data[key]), data[key], None):
                raise UnfitFile(fault)
        return dict(data)


def slice_faults(path: str | os.PathLike, image: MetaTensor, orientation: str | None) -> Iterator[Fault]:
    """What keeps a volume from being seen slice by slice: the axes in a slice must have more than one voxel.

    Args:
        path: for the message.
        image: ``(1, H, W, D)``.
        orientation: axis codes, slices along the last; ``None`` or ``"native"`` for the axes as they are.
    """
    size = np.asarray(image.shape[1:])
    if orientation not in (None, "native"):
        order = io_orientation(np.asarray(image.affine, dtype=np.float64))[:, 0]
        codes = [next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair) for code in orientation]
        size = np.asarray([size[list(order).index(axis)] for axis in codes])
    if min(size[:2]) == 1:
        fault = f"its slices would be {size[0]}×{size[1]} voxels"
        cure = "set `orientation` so that its last letter is the axis across the slices"
        cure += "" if orientation in (None, "native") else ", or to 'native'"
        yield Fault(str(path), fault, cure)


def keep_largest(labels: np.ndarray, values: Sequence[int | Sequence[int]]) -> np.ndarray:
    """Of each label in ``values`` keep the largest connected part (26 neighbours), clear the rest.

    Args:
        labels: label map, ``(X, Y, Z)``.
        values: label values, or lists of them that are one organ together; the rest is left alone.
    """
    kept = labels.copy()
    for value in values:
        parts, count = ndimage.label(np.isin(kept, value), structure=np.ones((3,) * labels.ndim))
        if count > 1:
            sizes = np.bincount(parts.ravel())[1:]
            kept[(parts > 0) & (parts != 1 + sizes.argmax())] = 0
    return kept


class KeepLargestd(MapTransform):
    """:func:`keep_largest` on label maps ``(1, X, Y, Z)``.

    MONAI's ``KeepLargestConnectedComponent`` does the same with scikit-image, which nothing else here needs.
    """

    def __init__(self, keys: KeysCollection, values: Sequence[int | Sequence[int]]) -> None:
        super().__init__(keys)
        self.values = tuple(values)

    def __call__(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            kept = keep_largest(torch.as_tensor(data[key])[0].cpu().numpy(), self.values)
            data[key] = torch.from_numpy(kept)[None]
        return data
