"""NIfTI and Analyze files as everyone here means them: volumes in millimetres, one orientation each.

MONAI leaves ``.hdr`` and ``.img`` to ITK, which puts an Analyze file elsewhere in space than nibabel does, takes the
numbers of a header for millimetres whatever its unit, keeps ones after the third axis as axes, and mends a header that
contradicts itself in silence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.data import NibabelReader
from monai.utils import ensure_tuple
from nibabel.spatialimages import HeaderDataError, SpatialImage

from shared_components.data.dicom import is_dicom
from shared_components.data.faults import Fault, UnfitFile
from shared_components.data.grids import grid_distance
from shared_components.files import write_atomically

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
_UNITS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # by the code of lengths, the lowest three bits


def is_nifti(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of a NIfTI or Analyze file; an ``.img`` may be DICOM by its content."""
    name = str(path).lower()
    return name.endswith(SUFFIXES) and not (name.endswith(".img") and is_dicom(Path(path)))


def open_nifti(path: str | os.PathLike, **options: Any) -> SpatialImage:
    """nibabel's image of a file, whose voxels are read when they are asked for.

    Raises:
        UnfitFile: a file of this family that holds no volume, as CIFTI. Damaged files raise what nibabel raises.
    """
    image = nibabel.load(path, **options)
    if not isinstance(image, SpatialImage):
        kind = type(image).__name__.removesuffix("Image")
        fault = f"a {kind} file, which holds no volume"
        raise UnfitFile(Fault(str(path), fault, "name a volume's file, or move this one away"))
    return image


def write_nifti(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write a volume, ``(X, Y, Z)`` or with frames after, on a grid in mm, as a whole or not at all."""
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    return write_atomically(path, lambda temporary: nibabel.save(image, temporary))


def portable(array: np.ndarray) -> np.ndarray:
    """Voxels in a type that all NIfTI readers agree on, in this machine's byte order.

    Floating point becomes float32; so do integers that int32 cannot hold; of the others long and unsigned ones become
    int32.
    """
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.itemsize > 4 or array.dtype == np.uint32:
        limits = np.iinfo(np.int32)
        held = array.size == 0 or limits.min <= int(array.min()) <= int(array.max()) <= limits.max
        return array.astype(np.int32 if held else np.float32)
    return array.astype(array.dtype.newbyteorder("="))


def length_unit(image: SpatialImage) -> tuple[str, float]:
    """Name and length, mm, of the unit in which a header states its sizes; millimetres where it names none.

    The unit of time beside it, of which some programs write codes that do not exist, is nobody's business here.
    """
    header = image.header
    code = int(header["xyzt_units"]) & 7 if isinstance(header, nibabel.Nifti1Header) else 0
    return _UNITS.get(code, ("millimetres", 1.0))


def millimetres(image: SpatialImage) -> float:
    """Length of the unit in which a header states its sizes, mm."""
    return length_unit(image)[1]


def world_affine(image: SpatialImage) -> np.ndarray:
    """Voxel to RAS world, mm, ``(4, 4)``; the file's own affine is in its own unit."""
    return np.diag([*[millimetres(image)] * 3, 1.0]) @ np.asarray(image.affine, dtype=np.float64)


def forms_apart(image: SpatialImage) -> float | None:
    """How far apart sform and qform put the corners of a NIfTI, in its smallest voxel edge.

    Zero where the header states but one of them that can be used, ``None`` where it states neither and so not where
    the volume lies.
    """
    header = image.header
    if not isinstance(header, nibabel.Nifti1Header):
        return 0.0
    coded = [header[name] > 0 for name in ("sform_code", "qform_code")]
    if not all(coded):
        return 0.0 if any(coded) else None
    try:
        qform = header.get_qform()
    except (ValueError, HeaderDataError):  # a quaternion that is none; the sform counts
        return 0.0
    return grid_distance(header.get_sform(), qform, (*image.shape, 1, 1)[:3])


def volume_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the ones after its third axis: ``(x, y, z, 1, 1)`` is a volume."""
    shape = tuple(shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


class NiftiReader(NibabelReader):
    """MONAI's reader of NIfTI with the rules of this module, for Analyze too."""

    def verify_suffix(self, filename: Sequence[str] | str) -> bool:
        """Whether all files are of this family."""
        return all(is_nifti(name) for name in ensure_tuple(filename))

    def read(self, data: Sequence[str] | str, **options: Any) -> SpatialImage:
        """Open a file, its header as it is."""
        (path,) = self.filenames = ensure_tuple(data)
        return open_nifti(path, **self.kwargs, **options)

    def _get_affine(self, img: SpatialImage) -> np.ndarray:
        return world_affine(img)

    def _get_array_data(self, img: SpatialImage, filename: str) -> np.ndarray:
        voxels = super()._get_array_data(img, filename)
        return voxels.reshape(volume_shape(voxels.shape))
