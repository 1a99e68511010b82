"""Which way up a volume's slices are seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Orientation
from monai.transforms.spatial.functional import orientation as turned
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from torch import Tensor

NATIVE = ("ASR", "RSP", "RAS")
"""Axis codes of slices across R–L, A–P and S–I: in-plane to the right, the front or the top, right-handed."""


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
