"""Frames of a 4-D time series: one file each, or read one by one."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import DtypeLike, KeysCollection
from monai.data import ImageReader
from monai.transforms import LoadImaged
from monai.utils import ensure_tuple

from shared_components.data.faults import UNREADABLE, UnfitFile, one_line
from shared_components.data.image_loader import LoadVolume, quietly
from shared_components.data.names import subject_name
from shared_components.data.nifti import (
    NiftiReader,
    is_nifti,
    open_nifti,
    portable,
    world_affine,
    write_nifti,
)
from shared_components.data.volume_faults import file_faults, packing_faults, refuse
from shared_components.errors import InputError

FRAME_KEY = "frame"


def frame_count(path: str | os.PathLike) -> int:
    """How many frames a file has: the fourth axis of a NIfTI, 1 for every other file. Reads the header alone.

    Raises:
        InputError: not a readable NIfTI file, or one with more axes than those of a time series.
    """
    if not is_nifti(path):
        return 1
    try:
        shape = open_nifti(path).shape
    except UnfitFile:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected a NIfTI volume, found none ({one_line(error)}); export it again"
        ) from error
    if any(size > 1 for size in shape[4:]):
        raise InputError(
            f"{path}: expected a 3-D volume or a 4-D time series, found shape {shape}; export one series a file"
        )
    return shape[3] if len(shape) > 3 else 1


class FrameReader(NiftiReader):
    """A reader of one frame of a 4-D NIfTI, which looks like a 3-D file to what comes after.

    The file stays open from one frame to the next: frames in their order are one pass over a compressed file,
    and no more than one of them is in memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frame = 0
        self._path: str | None = None
        self._series: nibabel.Nifti1Image | None = None

    def read(self, data: Sequence[str] | str, **kwargs) -> nibabel.Nifti1Image:
        """The frame ``self.frame`` of the file ``data``, ``(X, Y, Z)``."""
        path = str(ensure_tuple(data)[0])
        if path != self._path:
            self._series = super().read(path, keep_file_open=True, **kwargs)
            self._path = path
        self.filenames = (path,)
        frame = self._series.slicer[(..., self.frame, *[0] * (self._series.ndim - 4))]
        if self.frame == self._series.shape[3] - 1:
            self._path = self._series = None  # closes the file
        return frame


class LoadImageFramed(LoadImaged):
    """:class:`LoadVolume` of a dict's paths, which reads one frame alone where an item states ``frame`` (from 0).

    MONAI Deploy, which hands over images in memory, leaves out every step whose class's name has "LoadImage" in it.
    """

    def __init__(
        self,
        keys: KeysCollection,
        dtype: DtypeLike | None = np.float32,
        ensure_channel_first: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        with quietly():
            super().__init__(keys, allow_missing_keys=allow_missing_keys)
        self._loader = LoadVolume(dtype, ensure_channel_first)
        self._frames = FrameReader()

    def __call__(
        self, data: Mapping[Hashable, Any], reader: ImageReader | None = None
    ) -> dict[Hashable, Any]:
        if FRAME_KEY in data:
            self._frames.frame = int(data[FRAME_KEY])
            reader = self._frames
        for key in self.key_iterator(dict(data)):
            # of other formats the reader and what comes after see all there is to see
            if is_nifti(data[key]):
                refuse(file_faults(data[key]))
        return super().__call__(data, reader)


def split_frames(series: str | os.PathLike, folder: str | os.PathLike | None = None) -> list[Path]:
    """Write each frame of a 4-D image as ``<name>_t00.nii.gz``, ``<name>_t01.nii.gz``, …, affine kept.

    Args:
        series: the 4-D image, or an image of several channels.
        folder: where to write; beside ``series`` when ``None``.
    Returns:
        The files written.
    Raises:
        InputError: not a readable 4-D image, or one of the files is there already.
    """
    series = Path(series)
    refuse(file_faults(series))
    refuse(packing_faults(series))
    frames, count, affine = _series(series)
    digits = max(2, len(str(count - 1)))
    target = Path(folder) if folder is not None else series.parent
    files = [target / f"{subject_name(series)}_t{t:0{digits}d}.nii.gz" for t in range(count)]
    taken = next((file for file in files if file.exists()), None)
    if taken is not None:
        raise InputError(f"{taken}: is there already; remove it or name another folder with --output_dir")
    return [write_nifti(file, portable(frame), affine) for frame, file in zip(frames, files, strict=True)]


def _series(series: Path) -> tuple[Iterable[np.ndarray], int, np.ndarray]:
    """Frames ``(X, Y, Z)`` of a 4-D image, those of a NIfTI read one by one, how many there are, and its affine."""
    if is_nifti(series) and (count := frame_count(series)) > 1:
        return _frames(series, count), count, world_affine(open_nifti(series))
    try:
        frames = LoadVolume(dtype=None)(series)  # (T, H, W, D)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{series}: not an image that can be read ({one_line(error)})") from error
    if frames.ndim != 4 or frames.shape[0] < 2:
        raise InputError(
            f"{series}: expected a 4-D image, found {'×'.join(map(str, frames.shape[1:]))} voxels"
        )
    return frames.numpy(), len(frames), frames.affine.numpy()


def _frames(series: Path, count: int) -> Iterator[np.ndarray]:
    reader = FrameReader()
    for reader.frame in range(count):
        yield np.asarray(reader.read(str(series)).dataobj)
