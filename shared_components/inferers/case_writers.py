"""Label maps and class probabilities as NIfTI files on exactly the grid of the volume that they belong to."""

from __future__ import annotations

import gzip
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform

from shared_components.data.grids import GRID_TOLERANCE, grid_distance
from shared_components.data.nifti import is_nifti, open_nifti
from shared_components.errors import InputError
from shared_components.files import inside, write_atomically
from shared_components.inferers.cases import PROBABILITY_SUFFIX
from shared_components.inferers.file_grid import class_probabilities, plain

GEOMETRY = (
    "dim", "pixdim", "xyzt_units", "toffset", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b",
    "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
)  # fmt: skip
"""Fields of a NIfTI header that say where and when its voxels are."""
LABEL_LEVEL = 3  # of compression: half the time of the usual 6, and label maps become small at any level
PROBABILITY_LEVEL = 1  # of compression: noise-like numbers shrink little at any


class CaseWriter(MapTransform):
    """Writes a file for each case, and passes everything on; a step of postprocessing.

    Items without a case's name are passed on as they are: programs that run this postprocessing on items of their own,
    such as MONAI Label and MONAI Deploy, write the result themselves.

    Args:
        output_dir: folder, made when missing.
        keys: key of what is written.
        image_key: key of the image, whose metadata names the file.
        case_key: key of the case's name.
    """

    def __init__(
        self,
        output_dir: str | Path,
        keys: Hashable = "pred",
        image_key: Hashable = "image",
        case_key: Hashable = "case",
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        (self.key,) = self.keys
        self.image_key = image_key
        self.case_key = case_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case = dict(data)
        if self.case_key in case:
            self.write(case)
        return case

    @abstractmethod
    def write(self, case: Mapping[Hashable, Any]) -> None:
        """Write the file of a case."""

    def source(self, case: Mapping[Hashable, Any]) -> tuple[str, np.ndarray]:
        """The file that a case was read from, and its affine (voxel to RAS world, mm)."""
        meta = case[self.image_key].meta
        affine = to_affine_nd(3, np.asarray(meta["original_affine"]).squeeze())
        return str(meta["filename_or_obj"]), affine


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
    content = gzip.compress(segmentation.to_bytes(), compresslevel=LABEL_LEVEL, mtime=0)
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
    header = _geometry_of(source, data.dtype, "segmentation")
    return kind(data.reshape(source.shape), source.affine, header)


def _geometry_of(source: nib.Nifti1Image, dtype: np.dtype, description: str) -> nib.Nifti1Header:
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
    _place_by(segmentation.header, affine)
    return segmentation


def _place_by(header: nib.Nifti1Header, affine: np.ndarray) -> None:
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


def write_probabilities(
    path: str | Path, classes: Iterable[np.ndarray], count: int, image: str | Path, affine: np.ndarray
) -> Path:
    """Write probabilities as 4-D ``.nii.gz`` ``(X, Y, Z, C)``, float32; one class is in memory at a time.

    Args:
        path: file to write.
        classes: each class's ``(X, Y, Z)`` on the image's grid.
        count: how many.
        image: file (or DICOM folder) that was segmented; the geometry fields of a NIfTI are kept.
        affine: voxel to RAS world (mm), ``(4, 4)``; used when ``image`` is not NIfTI.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", PROBABILITY_LEVEL, raw, mtime=0) as file:
            for index, probability in enumerate(classes):
                if index == 0:
                    _header(image, affine, (*probability.shape, count)).write_to(file)
                for plane in np.moveaxis(probability, 2, 0):  # whole, a class's bytes would double the memory
                    file.write(plane.astype("<f4").tobytes(order="F"))

    return write_atomically(path, write)


def _header(image: str | Path, affine: np.ndarray, shape: tuple[int, ...]) -> nib.Nifti1Header:
    if is_nifti(image):
        header = _geometry_of(open_nifti(image), np.dtype(np.float32), "class probabilities")
    else:
        header = nib.Nifti1Header()
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        header.set_xyzt_units("mm")
    zooms = header.get_zooms()[:3]
    header.set_data_shape(shape)
    header.set_zooms((*zooms, *[1.0] * (4 - len(zooms))))
    if not is_nifti(image):
        _place_by(header, affine)
    header["vox_offset"] = header.single_vox_offset
    return header


class WriteProbabilitiesd(CaseWriter):
    """Write one case's class probabilities as ``<output_dir>/<case>_prob.nii.gz``.

    Of a time series each frame has a file of its own, ``<case>_t00_prob.nii.gz`` and so on. The key holds the class
    scores on the network's grid, ``(C, H, W, D)``, the image key what the network saw; arguments as of
    :class:`CaseWriter`.
    """

    def write(self, case: Mapping[Hashable, Any]) -> None:
        """Write a case, or a frame of it."""
        scores = plain(case[self.key])
        write_probabilities(
            inside(self.output_dir, probability_file(case, self.case_key)),
            class_probabilities(scores, case[self.image_key]),
            len(scores),
            *self.source(case),
        )


def probability_file(item: Mapping[Any, Any], case_key: Hashable = "case") -> str:
    """Name of the file of an item, or of a frame of it."""
    if "frames" not in item:
        return f"{item[case_key]}{PROBABILITY_SUFFIX}.nii.gz"
    digits = max(2, len(str(int(item["frames"]) - 1)))
    return f"{item[case_key]}_t{int(item['frame']):0{digits}d}{PROBABILITY_SUFFIX}.nii.gz"
