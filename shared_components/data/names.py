"""File names of images."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE_SUFFIXES = (
    ".nii.gz",
    ".seg.nrrd",
    ".nii",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".dcm",
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".npy",
    ".npz",
    ".hdr",
    ".gipl",
)
"""Endings of image files, longer before shorter; a folder is a DICOM series."""


def subject_name(image: str | os.PathLike) -> str:
    """File name without its image ending; a DICOM series is named by its folder."""
    name = Path(image).name
    suffix = next((s for s in IMAGE_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
