"""Endings of image files, and what a subject is called by a file's name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VOLUME_SUFFIXES = (
    ".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz", ".hdr", ".gipl",
)  # fmt: skip
"""Endings of files with a volume, longer before shorter."""
DICOM_SUFFIXES = (".dcm", ".ima")
IMAGE_SUFFIXES = (*VOLUME_SUFFIXES, *DICOM_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Endings of image files, longer before shorter; DICOM is known by its content too, and a series is a folder."""
_WITHOUT_SIZES = (".npy", ".npz", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def states_sizes(image: str | os.PathLike) -> bool:
    """Whether files of this kind say how large a voxel is; of arrays and pictures it is taken as 1 mm."""
    return not Path(image).name.lower().endswith(_WITHOUT_SIZES)


def subject_name(image: str | os.PathLike) -> str:
    """File name without its image ending; a DICOM series is named by its folder."""
    name = Path(image).name
    suffix = next((s for s in IMAGE_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def entry_subject(entry: Mapping[str, Any]) -> str:
    """What an entry of ``dataset.json`` calls its subject: ``subject``, or the image's file name without ending."""
    return entry["subject"] if isinstance(entry.get("subject"), str) else subject_name(entry["image"])
