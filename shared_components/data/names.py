"""Endings of image files, what a subject is called by a file's name, and what visits and sequences are called."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VOLUME_SUFFIXES = (
    ".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz", ".hdr", ".gipl",
)  # fmt: skip
"""Endings of files with a volume, longer before shorter."""
DICOM_SUFFIXES = (".dcm", ".ima")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
IMAGE_SUFFIXES = (*VOLUME_SUFFIXES, *DICOM_SUFFIXES, *PICTURE_SUFFIXES)
"""Endings of image files, longer before shorter; DICOM is known by its content too, and a series is a folder."""
_NAMED = (*IMAGE_SUFFIXES, ".img")  # of an Analyze or NIfTI pair, for which its header stands in a folder
_WITHOUT_SIZES = (".npy", ".npz", *PICTURE_SUFFIXES)
YEAR = r"(19[89]|20[0-3])\d"
DAY = rf"({YEAR}[-_.]?(0[1-9]|1[0-2])[-_.]?([0-2]\d|3[01])|[0-3]?\d[-_.][01]?\d[-_.]{YEAR})"
VISIT = (
    rf"({YEAR}|{DAY}([T_. -].*)?|ses-[a-z0-9]+|baseline|follow-?up[_. -]?\d*|"
    r"(visite?|ses|session|scan|time|time-?point|tp|t|v|exam|day|week|month|year)[_. -]?\d{1,4}|"
    r"(pre|post)([_. -]?(op|rt|therapy|treatment|surgery|contrast)\w*|\d*))"
)
"""Patterns of a year, a day, and any word for a visit; without regard to case."""
_SEQUENCE = r"(T[12](w|c|ce|gd|star)?|flair|dwi|adc|pdw?|swi|mr|mri|ct|pet|bold)"
_OF_EVERYBODY = r"(anat|func|dicom|dcm|nifti|nii|raw|scans?)"


def states_sizes(image: str | os.PathLike) -> bool:
    """Whether files of this kind say how large a voxel is; of arrays and pictures it is taken as 1 mm."""
    return not Path(image).name.lower().endswith(_WITHOUT_SIZES)


def is_picture(image: str | os.PathLike) -> bool:
    """Whether a file is a picture, which does not say how it lies in a body either."""
    return Path(image).name.lower().endswith(PICTURE_SUFFIXES)


def subject_name(image: str | os.PathLike) -> str:
    """File name without its image ending; a DICOM series is named by its folder."""
    name = Path(image).name
    suffix = next((s for s in _NAMED if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def entry_subject(entry: Mapping[str, Any]) -> str:
    """What an entry of ``dataset.json`` calls its subject: ``subject``, or the image's file name without ending."""
    return entry["subject"] if isinstance(entry.get("subject"), str) else subject_name(entry["image"])


def is_visit(folder: str) -> bool:
    """Whether a folder is called as a visit, a sequence or what every patient has, and so not as a patient."""
    return re.fullmatch(f"{VISIT}|{_SEQUENCE}|{_OF_EVERYBODY}", folder, re.IGNORECASE) is not None


def names_sequence(stem: str) -> bool:
    """Whether a word in a file's name is that of a sequence, such as ``t1`` or ``FLAIR``."""
    return re.search(rf"(^|[_. -]){_SEQUENCE}($|[_. -])", stem, re.IGNORECASE) is not None


def names_time(text: str) -> bool:
    """Whether a part of a name tells a visit and no sequence, as ``2019`` or ``visit1``."""
    return not names_sequence(text) and re.fullmatch(VISIT, text, re.IGNORECASE) is not None
