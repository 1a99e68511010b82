"""The one way from a file or a folder to its voxels and their grid: the same readers on every machine.

ITK, a package of 167 MB, is imported when a file is read that nothing else can read.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from monai.config import DtypeLike, PathLike
from monai.data import ImageReader, ITKReader, MetaTensor, NumpyReader, PILReader
from monai.data.utils import to_affine_nd
from monai.transforms import LoadImage
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple
from numpy.lib.npyio import NpzFile
from PIL import Image

from shared_components.data.dicom import is_series_or_slice, read_stack
from shared_components.data.dicom_grid import CONVERT, Plane, Stack, unfit
from shared_components.data.faults import Fault, UnfitFile, one_line
from shared_components.data.nifti import NiftiReader, is_nifti, open_nifti, world_affine
from shared_components.data.offsets import OffsetFreeReader
from shared_components.data.volume_faults import refuse
from shared_components.data.voxel_headers import header_faults

ITK = "itk==5.4.7"
"""What reads DICOM, NRRD and MetaImage; nothing else needs it."""

_SMALL_LETTERS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO", ".gipl": "GiplImageIO"}
"""Endings that ITK does not know in capitals, and what reads them."""


@contextmanager
def quietly() -> Iterator[None]:
    """Without notes: where pydicom is installed, MONAI tells of each loader that it found no GPU decoder."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


class LoadVolume(LoadImage):
    """MONAI's ``LoadImage`` with a fixed choice of readers; check, training, inference and scoring all read by it.

    NIfTI and Analyze are read by nibabel, pictures by Pillow, arrays by NumPy; DICOM by a reader of its own, for which
    ITK decodes the pixels, and all else (NRRD, MetaImage) by ITK. MONAI's own choice depends on what else is
    installed: with pynrrd, the same NRRD would come by another reader.

    Args:
        dtype: of the voxels; ``None`` keeps the file's. As float32 they come without an offset that would merge them.
        ensure_channel_first: ``(C, X, Y, Z)`` instead of the file's axes.
    Raises:
        UnfitFile: ITK is needed and missing, or a DICOM series is no regular volume.
    """

    def __init__(self, dtype: DtypeLike | None = np.float32, ensure_channel_first: bool = True) -> None:
        with quietly():
            super().__init__(dtype=dtype, ensure_channel_first=ensure_channel_first)
        self.readers: list[ImageReader] = [  # asked from the last on
            LazyITKReader(),
            ArrayReader(),
            PictureReader(),
            NiftiReader(),
            DicomReader(),
        ]

    def __call__(
        self, filename: Sequence[PathLike] | PathLike, reader: ImageReader | None = None
    ) -> MetaTensor:
        """A file's volume by the one reader that is meant for it: what that cannot read, no other makes a guess at.

        As with MONAI, its metadata stand beside it where ``image_only`` is set to False.
        """
        chosen = reader or next(each for each in reversed(self.readers) if each.verify_suffix(filename))
        offset_free = OffsetFreeReader(chosen) if self.dtype == np.float32 else chosen
        with np.errstate(over="ignore"):  # float64 that float32 cannot hold becomes infinite, which is told
            loaded = super().__call__(filename, offset_free)
        image = loaded if self.image_only else loaded[0]  # MONAI Label wants the metadata beside it
        # pictures and arrays state no place in space, and what is found in them is written where they are taken to lie
        image.meta.setdefault(MetaKeys.ORIGINAL_AFFINE, image.affine.clone())
        return loaded


def _require_itk(path: PathLike) -> ModuleType:
    """The package ``itk``.

    Raises:
        UnfitFile: it is not installed, and ``path`` cannot be read without.
    """
    try:
        import itk
    except ImportError as error:
        fault = f"is read by ITK, which is not installed ({error})"
        raise UnfitFile(Fault(str(path), fault, f"pip install {ITK}, or convert it to NIfTI")) from error
    return itk


class PictureReader(PILReader):
    """MONAI's ``PILReader`` of pictures, whose columns run to the left and rows to the back, as ITK takes them.

    MONAI states no direction, which would put pictures upside down beside volumes of the same anatomy. Grey pictures
    that a viewer has saved in colours are read as what they show.
    """

    def __init__(self) -> None:
        super().__init__(converter=_grey_where_it_is)

    def _get_meta_dict(self, img: Any) -> dict:
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        return super()._get_meta_dict(img) | {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        }


def _grey_where_it_is(picture: Image.Image) -> Image.Image:
    """The one channel of a picture whose colours are alike at each pixel and opaque; other pictures as they are."""
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return picture
    grey, *others = picture.split()
    opacity = others.pop() if picture.mode.endswith("A") else None
    if any(other.tobytes() != grey.tobytes() for other in others):
        return picture
    if opacity is not None and opacity.getextrema() != (255, 255):
        return picture
    grey.format = picture.format  # which MONAI notes
    return grey


class ArrayReader(NumpyReader):
    """MONAI's ``NumpyReader``, which knows an archive of arrays by an ending in small letters alone."""

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs) -> Any:
        """The arrays of a file."""
        for name in ensure_tuple(data):
            if str(name).lower().endswith(".npy"):
                np.load(name, mmap_mode="r")  # refuses sizes that the file lacks before they take memory
        found = super().read(data, **kwargs)
        return list(found.values()) if isinstance(found, NpzFile) else found


class LazyITKReader(ImageReader):
    """MONAI's ``ITKReader``, which imports ITK when a file is read that needs it."""

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Any file: ITK looks at the content."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs) -> Any:
        """An image of ITK.

        Raises:
            UnfitFile: ITK is missing, or a header is not to be given to it.
        """
        for each in ensure_tuple(data):
            refuse(header_faults(each))
        name = ensure_tuple(data)[0]
        itk, suffix = _require_itk(name), Path(name).suffix
        if suffix.lower() != suffix and (codec := _SMALL_LETTERS.get(suffix.lower())):
            kwargs = {"imageio": getattr(itk, codec).New()} | kwargs
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
        return stack, _voxels(_require_itk(name), Path(name), stack.planes)

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


def stored_grid(path: str | os.PathLike) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape as stored, and affine to RAS world, ``(4, 4)``, mm; the voxels of NIfTI and DICOM are not read."""
    if is_nifti(path):
        image = open_nifti(path)
        return tuple(image.shape), world_affine(image)
    if is_series_or_slice(Path(path)):
        stack = read_stack(Path(path))
        return stack.shape, stack.affine
    image = LoadVolume()(path)
    frames, *shape = image.shape
    return (*shape, *([frames] if frames > 1 else [])), to_affine_nd(3, image.affine.numpy())
