"""The one way from a file or a folder to voxels: the same readers on every machine, and ITK only where it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from monai.config import DtypeLike, PathLike
from monai.data import ImageReader, ITKReader, MetaTensor, NumpyReader, PILReader
from monai.transforms import LoadImage
from monai.utils import ensure_tuple

from shared_components.data.nifti import NiftiReader
from shared_components.data.problems import Problem, UnfitFile

ITK = "itk==5.4.7"
"""What reads DICOM, NRRD and MetaImage; nothing else needs it."""


class LoadVolume(LoadImage):
    """MONAI's ``LoadImage`` with a fixed choice of readers; check, training, inference and scoring all read by it.

    NIfTI and Analyze are read by nibabel, pictures by Pillow, arrays by NumPy, and all else (DICOM, NRRD, MetaImage) by
    ITK. MONAI's own choice depends on what else is installed: with pynrrd, the same NRRD would come by another reader.

    Args:
        dtype: of the voxels; ``None`` keeps the file's.
        ensure_channel_first: ``(C, X, Y, Z)`` instead of the file's axes.
    Raises:
        UnfitFile: ITK is needed and missing.
    """

    def __init__(self, dtype: DtypeLike | None = np.float32, ensure_channel_first: bool = True) -> None:
        super().__init__(dtype=dtype, ensure_channel_first=ensure_channel_first)
        self.readers = [
            LazyITKReader(),
            NumpyReader(),
            PILReader(),
            NiftiReader(),
        ]  # asked from the last on

    def __call__(
        self, filename: Sequence[PathLike] | PathLike, reader: ImageReader | None = None
    ) -> MetaTensor:
        """A file's volume by the one reader that is meant for it: what that cannot read, no other makes a guess at."""
        chosen = reader or next(each for each in reversed(self.readers) if each.verify_suffix(filename))
        return super().__call__(filename, chosen)


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
