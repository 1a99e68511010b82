"""The one way from a file or a folder to voxels: the same readers on every machine, and ITK only where it is needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from monai.config import DtypeLike, PathLike
from monai.data import ImageReader, MetaTensor, NumpyReader, PILReader
from monai.transforms import LoadImage
from monai.utils import MetaKeys

from shared_components.data.itk_readers import DicomReader, LazyITKReader
from shared_components.data.nifti import NiftiReader


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
        dtype: of the voxels; ``None`` keeps the file's.
        ensure_channel_first: ``(C, X, Y, Z)`` instead of the file's axes.
    Raises:
        UnfitFile: ITK is needed and missing, or a DICOM series is no regular volume.
    """

    def __init__(self, dtype: DtypeLike | None = np.float32, ensure_channel_first: bool = True) -> None:
        with quietly():
            super().__init__(dtype=dtype, ensure_channel_first=ensure_channel_first)
        self.readers = [  # asked from the last on
            LazyITKReader(),
            NumpyReader(),
            PILReader(),
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
        loaded = super().__call__(filename, chosen)
        image = loaded if self.image_only else loaded[0]  # MONAI Label wants the metadata beside it
        # pictures and arrays state no place in space, and what is found in them is written where they are taken to lie
        image.meta.setdefault(MetaKeys.ORIGINAL_AFFINE, image.affine.clone())
        return loaded
