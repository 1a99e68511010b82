"""A 4-D time series as one file a frame."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
from monai.transforms import LoadImage

from shared_components.data.names import subject_name
from shared_components.data.reading import UNREADABLE, one_line
from shared_components.errors import InputError
from shared_components.files import write_atomically


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
    try:
        frames = LoadImage(ensure_channel_first=True, dtype=None)(series)  # (T, H, W, D)
    except UNREADABLE as error:
        raise InputError(f"{series}: not an image that can be read ({one_line(error)})") from error
    if frames.ndim != 4 or frames.shape[0] < 2:
        raise InputError(
            f"{series}: expected a 4-D image, found {'×'.join(map(str, frames.shape[1:]))} voxels"
        )
    digits = max(2, len(str(len(frames) - 1)))
    target = Path(folder) if folder is not None else series.parent
    files = [target / f"{subject_name(series)}_t{t:0{digits}d}.nii.gz" for t in range(len(frames))]
    taken = next((file for file in files if file.exists()), None)
    if taken is not None:
        raise InputError(f"{taken}: is there already; remove it or name another folder with --folder")
    for frame, file in zip(frames, files, strict=True):
        image = nibabel.Nifti1Image(frame.numpy(), frames.affine.numpy())
        write_atomically(file, lambda place, image=image: nibabel.save(image, place))
    return files
