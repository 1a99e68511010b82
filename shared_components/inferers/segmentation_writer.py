"""Label maps as NIfTI files on exactly the grid of the volume that they belong to."""

from __future__ import annotations

import gzip
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from shared_components.data.grids import GRID_TOLERANCE, grid_distance
from shared_components.data.nifti import is_nifti, open_nifti
from shared_components.errors import InputError
from shared_components.files import inside, write_atomically
from shared_components.inferers.case_writer import CaseWriter

GEOMETRY = (
    "dim", "pixdim", "xyzt_units", "toffset", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b",
    "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
)  # fmt: skip
"""Fields of a NIfTI header that say where and when its voxels are."""
LEVEL = 3  # of compression: half the time of the usual 6, and label maps become small at any level


def write_segmentation(path: str | Path, labels: np.ndarray, image: str | Path, affine: np.ndarray) -> Path:
    """Write a label map as ``.nii.gz``, whole or not at all.

    For a NIfTI ``image`` the geometry fields (shape, affine, sform and qform with their codes, units) are
    those of its header, bit for bit. MONAI's own writer builds the header anew from an affine that has been
    through the inverse transforms.

    Args:
        path: file to write.
        labels: whole numbers >= 0, ``(X, Y, Z)`` or, of a time series, ``(X, Y, Z, T)``, on the image's grid.
        image: file (or DICOM folder) that was segmented.
        affine: voxel to RAS world (mm), ``(4, 4)``; used when ``image`` is not NIfTI.
    Raises:
        InputError: ``labels`` has another shape than a NIfTI ``image``.
    """
    data = _narrow(np.asarray(labels))
    if is_nifti(image):
        segmentation = _on_grid_of(open_nifti(image), data, image)
    else:
        segmentation = _on_grid(data, affine)
    # a fixed time stamp: the same labels give the same bytes
    content = gzip.compress(segmentation.to_bytes(), compresslevel=LEVEL, mtime=0)
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _narrow(labels: np.ndarray) -> np.ndarray:
    """The smallest type of whole numbers that holds the labels."""
    return labels.astype(np.uint8 if np.max(labels, initial=0) <= 255 else np.uint16)


def _on_grid_of(source: nib.Nifti1Image, data: np.ndarray, image: str | Path) -> nib.Nifti1Image:
    if _without_singletons(data.shape) != _without_singletons(source.shape):
        raise InputError(
            f"{image}: expected labels of shape {source.shape}, found {data.shape}; segment it again"
        )
    kind = nib.Nifti2Image if isinstance(source.header, nib.Nifti2Header) else nib.Nifti1Image
    header = geometry_of(source, data.dtype, "segmentation")
    return kind(data.reshape(source.shape), source.affine, header)


def geometry_of(source: nib.Nifti1Image, dtype: np.dtype, description: str) -> nib.Nifti1Header:
    """A new header with the geometry fields of ``source``'s, for data of another kind.

    Nothing else of the image's header is copied: its text fields and extensions may name a patient.
    """
    if not isinstance(source.header, nib.Nifti1Header):  # Analyze: its affine may stand in a file beside it
        header = nib.Nifti1Header()
        header.set_data_shape(source.shape)
        header.set_zooms(source.header.get_zooms())
        header.set_xyzt_units("mm")
        header.set_sform(source.affine, code="scanner")
    else:
        header = (nib.Nifti2Header if isinstance(source.header, nib.Nifti2Header) else nib.Nifti1Header)()
        for field in GEOMETRY:
            header[field] = source.header[field]
    header.set_data_dtype(dtype)
    header["descrip"] = description.encode()
    return header


def _without_singletons(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the ones at its end, which files of slices and of single volumes may carry."""
    return shape if not shape or shape[-1] != 1 else _without_singletons(shape[:-1])


def _on_grid(data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    segmentation = nib.Nifti1Image(data, np.asarray(affine, dtype=np.float64))
    segmentation.header.set_xyzt_units("mm")
    place_by(segmentation.header, affine)
    return segmentation


def place_by(header: nib.Nifti1Header, affine: np.ndarray) -> None:
    """State a grid in the header of data that lie on it.

    A qform has no shear: where a gantry was tilted only the sform says where the voxels lie, and who reads the qform
    alone is told that there is none.

    Args:
        header: of data of the grid's shape; changed.
        affine: voxel to RAS world, mm, ``(4, 4)``.
    """
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    if grid_distance(affine, header.get_qform(), (*header.get_data_shape(), 1, 1)[:3]) > GRID_TOLERANCE:
        header["qform_code"] = 0


class WriteSegmentationd(CaseWriter):
    """Write one case's label map as ``<output_dir>/<case>_seg.nii.gz``; the last step of postprocessing.

    Label maps of frames (items with ``frame`` and ``frames``, see ``CaseDataset``) are kept, in a byte or two a
    voxel, until the case's last one is there; then one 4-D file is written. The key holds the label map,
    ``(1, X, Y, Z)``, on the grid of the image's file; arguments as of :class:`CaseWriter`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._frames: dict[str, dict[int, np.ndarray]] = {}

    def write(self, case: Mapping[Hashable, Any]) -> None:
        """Write a case, or keep a frame of it until all are there."""
        name = str(case[self.case_key])
        path = inside(self.output_dir, f"{name}_seg.nii.gz")
        labels = torch.as_tensor(case[self.key])[0].cpu().numpy()
        if "frames" in case:
            labels = self._series(name, _narrow(labels), int(case["frame"]), int(case["frames"]))
        if labels is not None:
            write_segmentation(path, labels, *self.source(case))

    def _series(self, name: str, labels: np.ndarray, frame: int, count: int) -> np.ndarray | None:
        """``(X, Y, Z, T)`` once all frames of a case are there."""
        if name not in self._frames:
            self._frames.clear()  # frames of a case come together: what is left over belongs to one that failed
        frames = self._frames.setdefault(name, {})
        frames[frame] = labels
        if len(frames) < count:
            return None
        del self._frames[name]
        return np.stack([frames[t] for t in range(count)], axis=-1)
