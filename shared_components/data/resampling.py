"""In-plane resampling: slices stay the slices that were acquired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from torch import Tensor


class InPlaneSpacingd(MapTransform, InvertibleTransform):
    """Resample the first two axes to a voxel size; the third keeps its slices. Images bilinear, labels nearest.

    The first voxels of both grids coincide, and the new grid spans the old one to the nearest whole voxel.

    Deviation: MONAI's ``Spacingd`` does the same for an affine without rotation. On oblique ones it places the new
    grid by the corner or by the middle depending on the affine's eighth decimal, so that the same volume as NIfTI
    and as NRRD came out half a pixel apart, and it straightens sheared grids (gantry tilt), which mixes slices.

    Args:
        keys: images and labels, ``(1, H, W, D)``.
        spacing: in-plane voxel size, mm, ``(2,)``.
        modes: ``"bilinear"`` or ``"nearest"`` for each key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: Sequence[float],
        modes: Sequence[str],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = tuple(float(mm) for mm in spacing)
        self.modes = tuple(modes)
        self.resample = SpatialResample(padding_mode="border", align_corners=False, dtype=torch.float32)

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key, mode in self.key_iterator(data, self.modes):
            affine, shape = self._grid(data[key])
            data[key] = self.resample(data[key], dst_affine=affine, spatial_size=shape, mode=mode)
        return data

    def inverse(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self.resample.inverse(data[key])
        return data

    def _grid(self, image: MetaTensor) -> tuple[Tensor, list[int]]:
        """Affine and shape of the new grid."""
        have = affine_to_spacing(image.affine, 3)[:2].tolist()
        scales = [want / mm for want, mm in zip(self.spacing, have, strict=True)]
        affine = image.affine.double() @ torch.diag(torch.tensor([*scales, 1.0, 1.0], dtype=torch.float64))
        spans = [(size - 1) / scale for size, scale in zip(image.shape[1:3], scales, strict=True)]
        # headers hold rounded numbers: a span of 44.5 must not become 44 voxels in one file and 45 in another
        return affine, [round(round(span, 3)) + 1 for span in spans] + [image.shape[3]]


class AntiAliasd(MapTransform):
    """Blur in-plane before a coarser grid is sampled, so that fine texture does not become structure.

    Gaussian of σ = (f − 1) / 2 voxels for a downsampling factor f, the rule of MONAI's ``Resize``; axes that
    are not made coarser stay untouched.

    Args:
        keys: images (not labels), ``(1, H, W, D)``.
        spacing: in-plane voxel size of the coming grid, mm, ``(2,)``.
    """

    def __init__(
        self, keys: KeysCollection, spacing: Sequence[float], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = tuple(float(mm) for mm in spacing)

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self._blur(data[key])
        return data

    def _blur(self, image: MetaTensor) -> MetaTensor:
        have = affine_to_spacing(image.affine, 3)[:2].tolist()
        sigmas = [max(0.0, (want / mm - 1) / 2) for want, mm in zip(self.spacing, have, strict=True)]
        if max(sigmas) == 0:
            return image
        kernels = [gaussian_1d(torch.tensor(sigma), normalize=True) for sigma in (*sigmas, 0.0)]
        blurred = separable_filtering(image.as_tensor()[None], kernels, mode="replicate")[0]
        return MetaTensor(blurred, meta=image.meta, applied_operations=image.applied_operations)
