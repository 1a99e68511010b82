"""In-plane resampling: slices stay the slices that were acquired."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample, TraceableTransform
from torch import Tensor

from shared_components.data.transforms import source_of
from shared_components.errors import InputError

_LARGEST = 16_384  # px along an axis
_EQUAL = 1e-3  # voxel edges whose ratio is this close to 1 are the same to MONAI's resampling too


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
            affine, shape = self.grid(data[key])
            data[key] = self.resample(data[key], dst_affine=affine, spatial_size=shape, mode=mode)
        return data

    def inverse(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self.resample.inverse(data[key])
        return data

    def grid(self, image: MetaTensor) -> tuple[Tensor, list[int]]:
        """Affine ``(4, 4)`` and shape ``(H, W, D)`` of the new grid."""
        have = affine_to_spacing(image.affine, 3)[:2].tolist()
        scales = [want / mm for want, mm in zip(self.spacing, have, strict=True)]
        affine = image.affine.double() @ torch.diag(torch.tensor([*scales, 1.0, 1.0], dtype=torch.float64))
        return affine, [*new_size(image, self.spacing), image.shape[3]]


def new_size(image: MetaTensor, spacing: Sequence[float]) -> list[int]:
    """In-plane size, pixels, of ``(1, H, W, D)`` at a spacing, mm.

    Raises:
        InputError: more pixels than fit into memory: a spacing, or a header, of no sense.
    """
    have = affine_to_spacing(image.affine, 3)[:2].tolist()
    scales = [want / mm for want, mm in zip(spacing, have, strict=True)]
    spans = [(size - 1) / scale for size, scale in zip(image.shape[1:3], scales, strict=True)]
    # headers hold rounded numbers: a span of 44.5 must not become 44 voxels in one file and 45 in another
    new = [round(round(span, 3)) + 1 for span in spans]
    if max(new) > _LARGEST:
        extents = " × ".join(f"{size * mm:.4g}" for size, mm in zip(image.shape[1:3], have, strict=True))
        raise InputError(
            f"{source_of(image)}: its slices of {extents} mm would be {new[0]} × {new[1]} pixels at a spacing of "
            f"{' × '.join(f'{mm:g}' for mm in dict.fromkeys(spacing))} mm; correct the voxel size in its header, or "
            "`spacing`"
        )
    return new


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
        sizes = zip(image.shape[1:3], self.spacing, have, strict=True)
        sigmas = [blur_width(want / mm, size) for size, want, mm in sizes]
        if max(sigmas) == 0:
            return image
        kernels = [gaussian_1d(torch.tensor(sigma), normalize=True) for sigma in (*sigmas, 0.0)]
        blurred = separable_filtering(image.as_tensor()[None], kernels, mode="replicate")[0]
        return MetaTensor(blurred, meta=image.meta, applied_operations=image.applied_operations)


def blur_width(factor: float, size: int) -> float:
    """σ, voxels, of the blur before ``size`` voxels are made ``factor`` times coarser.

    No wider than the image, which is one pixel then: where voxels are thousands of times smaller than the spacing (a
    header in the wrong unit), the kernel would fill the memory.
    """
    return min(max(0.0, (factor - 1) / 2), float(size))


class SmoothInPlaneSpacingd(MapTransform, InvertibleTransform):
    """:class:`AntiAliasd` and :class:`InPlaneSpacingd` of images in one step, several times as fast.

    Blurring and linear interpolation are both weighted sums along one axis at a time, so that each axis takes one
    multiplication with a matrix; the blurred image of full size is never made. What comes out differs by rounding
    from the two steps, and ``inverse`` is that of :class:`InPlaneSpacingd`.

    Args:
        keys: images (not labels), ``(1, H, W, D)``.
        spacing: in-plane voxel size, mm, ``(2,)``.
    """

    def __init__(
        self, keys: KeysCollection, spacing: Sequence[float], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = InPlaneSpacingd(keys, spacing, ["bilinear"] * len(self.keys), allow_missing_keys)

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self._resampled(data[key], key)
        return data

    def inverse(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.spacing.inverse(data)

    def _resampled(self, image: MetaTensor, key: str) -> MetaTensor:
        have = affine_to_spacing(image.affine, 3)[:2].tolist()
        scales = [want / mm for want, mm in zip(self.spacing.spacing, have, strict=True)]
        if max(scales) < 1 + _EQUAL:  # no axis becomes coarser: nothing to blur
            return self.spacing({key: image})[key]
        affine, shape = self.spacing.grid(image)
        rows, columns = (
            axis_weights(size, new, scale, blur_width(scale, size))
            for size, new, scale in zip(image.shape[1:3], shape[:2], scales, strict=True)
        )
        return self._traced(image, weigh_in_plane(image.as_tensor(), rows, columns), affine)

    def _traced(self, image: MetaTensor, voxels: Tensor, affine: Tensor) -> MetaTensor:
        """The voxels with what ``SpatialResample`` notes of a resampling, which its ``inverse`` reads."""
        step = self.spacing.resample
        told = TraceableTransform.track_transform_meta(
            image,
            sp_size=voxels.shape[1:],
            affine=torch.linalg.solve(image.affine.double(), affine),
            extra_info={
                "dtype": "float32", "mode": "bilinear", "padding_mode": "border", "align_corners": False,
                "src_affine": image.affine.double(),
            },
            orig_size=image.shape[1:],
            transform_info=step.get_transform_info(),
        )  # fmt: skip
        return MetaTensor(voxels).copy_meta_from(told)


@functools.lru_cache(maxsize=64)  # the volumes of one scanner need the same ones
def axis_weights(size: int, new_size: int, scale: float, sigma: float = 0.0) -> Tensor:
    """What a blur and a linear interpolation along one axis weigh each voxel with.

    The columns are what MONAI's own filter and resampling make of unit vectors, so that borders and rounding are
    theirs.

    Args:
        size: voxels along the axis.
        new_size: voxels wanted.
        scale: their distance, in old voxels; the first ones coincide.
        sigma: standard deviation of the Gaussian before, old voxels; 0 for none.
    Returns:
        ``(new_size, size)``, each row of sum 1; not to be changed in place.
    """
    units = torch.eye(size)[:, :, None, None]  # as many one-dimensional images as voxels
    if sigma > 0:
        kernels = [gaussian_1d(torch.tensor(width), normalize=True) for width in (sigma, 0.0, 0.0)]
        units = separable_filtering(units[None], kernels, mode="replicate")[0]
    resample = SpatialResample(
        mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32
    )
    to_new = torch.diag(torch.tensor([scale, 1.0, 1.0, 1.0], dtype=torch.float64))
    lines = resample(MetaTensor(units), dst_affine=to_new, spatial_size=(new_size, 1, 1))
    return lines.as_tensor()[:, :, 0, 0].T.contiguous()


def weigh_in_plane(volumes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply the slices ``(C, H, W, D)`` with ``(H', H)`` and ``(W', W)``: ``(C, H', W', D)``."""
    channels, _, width, depth = volumes.shape
    if rows.shape[0] > rows.shape[1]:  # the axis that grows comes last
        volumes = torch.matmul(columns, volumes)
        return torch.matmul(rows, volumes.flatten(2)).unflatten(2, (columns.shape[0], depth))
    volumes = torch.matmul(rows, volumes.reshape(channels, -1, width * depth)).unflatten(2, (width, depth))
    return torch.matmul(columns, volumes)
