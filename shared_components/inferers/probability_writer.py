"""Class probabilities as NIfTI files on the grid of the volume that they belong to, written class by class."""

from __future__ import annotations

import gzip
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from shared_components.data.nifti import is_nifti, open_nifti
from shared_components.files import inside, write_atomically
from shared_components.inferers.case_writer import CaseWriter
from shared_components.inferers.cases import PROBABILITY_SUFFIX
from shared_components.inferers.file_grid import class_probabilities, plain
from shared_components.inferers.segmentation_writer import geometry_of, place_by

LEVEL = 1  # of compression: noise-like numbers shrink little at any


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
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as file:
            for index, probability in enumerate(classes):
                if index == 0:
                    _header(image, affine, (*probability.shape, count)).write_to(file)
                for plane in np.moveaxis(probability, 2, 0):  # whole, a class's bytes would double the memory
                    file.write(plane.astype("<f4").tobytes(order="F"))

    return write_atomically(path, write)


def _header(image: str | Path, affine: np.ndarray, shape: tuple[int, ...]) -> nib.Nifti1Header:
    if is_nifti(image):
        header = geometry_of(open_nifti(image), np.dtype(np.float32), "class probabilities")
    else:
        header = nib.Nifti1Header()
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        header.set_xyzt_units("mm")
    zooms = header.get_zooms()[:3]
    header.set_data_shape(shape)
    header.set_zooms((*zooms, *[1.0] * (4 - len(zooms))))
    if not is_nifti(image):
        place_by(header, affine)
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


def probability_file(item: Mapping[Hashable, Any], case_key: Hashable = "case") -> str:
    """Name of the file of an item, or of a frame of it."""
    if "frames" not in item:
        return f"{item[case_key]}{PROBABILITY_SUFFIX}.nii.gz"
    digits = max(2, len(str(int(item["frames"]) - 1)))
    return f"{item[case_key]}_t{int(item['frame']):0{digits}d}{PROBABILITY_SUFFIX}.nii.gz"
