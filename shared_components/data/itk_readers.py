"""Readers that need ITK, a package of 167 MB: it is imported when a file is read that nothing else can read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, ITKReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from shared_components.data.dicom import is_series_or_slice, read_stack
from shared_components.data.dicom_grid import CONVERT, Plane, Stack, unfit
from shared_components.data.problems import Problem, UnfitFile
from shared_components.data.reading import one_line

ITK = "itk==5.4.7"
"""What reads DICOM, NRRD and MetaImage; nothing else needs it."""


def require_itk(path: PathLike) -> ModuleType:
    """The package ``itk``.

    Raises:
        UnfitFile: it is not installed, and ``path`` cannot be read without.
    """
    try:
        import itk
    except ImportError as error:
        fault = f"is read by ITK, which is not installed ({error})"
        raise UnfitFile(Problem(str(path), fault, f"pip install {ITK}, or convert it to NIfTI")) from error
    return itk


class LazyITKReader(ImageReader):
    """MONAI's ``ITKReader``, which imports ITK when a file is read that needs it."""

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Any file: ITK looks at the content."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs) -> Any:
        """An image of ITK."""
        require_itk(ensure_tuple(data)[0])
        return ITKReader().read(data, **kwargs)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Its voxels and metadata."""
        return ITKReader().get_data(img)


class DicomReader(ImageReader):
    """A DICOM file or a folder with one series, on the grid that the headers state; ITK decodes the pixels alone.

    MONAI's reader takes the pixel type of the first slice for all, which cuts the values of slices with a slope of
    their own to whole numbers, and ITK's grid. Names and dates of patients do not reach the metadata.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all are folders or DICOM by their content."""
        return all(is_series_or_slice(Path(name)) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs) -> tuple[Stack, np.ndarray]:
        """The slices and their values, ``(X, Y, Z)``.

        Raises:
            UnfitFile: no regular volume, or ITK is missing.
        """
        (name,) = ensure_tuple(data)
        stack = read_stack(Path(name))
        return stack, _voxels(require_itk(name), Path(name), stack.planes)

    def get_data(self, img: tuple[Stack, np.ndarray]) -> tuple[np.ndarray, dict]:
        """Voxels, and metadata as of MONAI's other readers."""
        stack, voxels = img
        return voxels, {
            MetaKeys.AFFINE: stack.affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: stack.affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(voxels.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        }


def _voxels(itk: ModuleType, path: Path, planes: Sequence[Plane]) -> np.ndarray:
    """Values of all slices, ``(X, Y, Z)``, in floating point: each slice has a slope of its own."""
    volume: np.ndarray | None = None
    by_file: dict[Path, list[int]] = defaultdict(list)
    for place, plane in enumerate(planes):
        by_file[plane.file].append(place)
    for file, places in by_file.items():
        try:
            frames, applied = _decoded(itk, file)
        except RuntimeError as error:
            fault = f"the pixels of {file.name} cannot be decoded ({one_line(error)})"
            raise unfit(path, fault, f"copy it again; if it is whole, {CONVERT}") from error
        if volume is None:  # sizes that a header states alone may be any
            volume = np.empty((*frames.shape[:0:-1], len(planes)), np.float32)
        for place in places:
            plane = planes[place]
            frame = frames[plane.frame or 0].T
            known = plane.frame is None or plane.scale == applied
            volume[..., place] = frame if known else _rescaled(frame, applied, plane.scale)
    return volume


def _decoded(itk: ModuleType, file: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Frames of a file, ``(frames, Y, X)``, and the slope and intercept that have been applied to all of them."""
    codec = itk.GDCMImageIO.New()
    image = itk.imread(str(file), pixel_type=itk.F, imageio=codec)
    return itk.array_from_image(image), (codec.GetRescaleSlope(), codec.GetRescaleIntercept())


def _rescaled(values: np.ndarray, applied: tuple[float, float], wanted: tuple[float, float]) -> np.ndarray:
    stored = np.rint((values.astype(np.float64) - applied[1]) / applied[0])
    return stored * wanted[0] + wanted[1]
