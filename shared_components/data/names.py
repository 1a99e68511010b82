"""File names: kinds of images, draws among names, and whose images they are.

That is told by a pattern, by a table, or guessed from names such as P00_ED and P00_ES.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, name_fault, shown
from shared_components.interrupts import limited

_BIDS = re.compile(r"(sub-[A-Za-z0-9]+)([_.-].*)?$")
_NAME = r"(.*\d.*?)[_. -]"  # whoever has a number of his own
_SERIAL = re.compile(_NAME + r"\d{1,2}$")
_KIND = re.compile(
    _NAME
    + r"([a-z]{1,5}|T[12]w?|[LR]\d?|(t|f|fr|frame|phase|v|visit|ses|session|run|scan|time|tp|acq|rep|day|"
    r"week|month|m|w|slice)-?\d{1,4}|pre\w*|post\w*|baseline|follow-?up\d*)$",
    re.IGNORECASE,
)
_SECONDS = 2  # of a pattern on all names; one that takes longer would never end
_MANY = 10  # images of one patient beyond which a guess is none
VOLUME_SUFFIXES = (
    ".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz", ".hdr", ".gipl",
)  # fmt: skip
"""Endings of files with a volume, longer before shorter."""
DICOM_SUFFIXES = (".dcm", ".ima")
IMAGE_SUFFIXES = (*VOLUME_SUFFIXES, *DICOM_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Endings of image files, longer before shorter; DICOM is known by its content too, and a series is a folder."""
_WITHOUT_SIZES = (".npy", ".npz", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def guessed_patients(names: Collection[str]) -> dict[str, str]:
    """Each name's patient, as far as names tell: what stands before an ending such as ``_ED``, ``_frame01`` or ``_2``.

    Endings that are mere numbers count only where patients outnumber each one's images, since ``site1_07`` may be as
    well a subject of a site. A patient's name has a number in it, and he has few images.

    Returns:
        Name to patient; a name that tells nothing is a patient of its own.
    """
    found = {name: _stem(name) for name in names}
    groups = _groups({name: _serial(stem) for name, stem in found.items()})
    if len(groups) > max((len(group) for group in groups.values()), default=0):
        found = {name: _serial(stem) for name, stem in found.items()}
    many = {patient for patient, group in _groups(found).items() if len(group) > _MANY}
    return {name: name if patient in many else patient for name, patient in found.items()}


def _stem(name: str) -> str:
    if bids := _BIDS.match(name):
        return bids[1]
    while kind := _KIND.match(name):
        name = kind[1]
    return name


def _serial(name: str) -> str:
    serial = _SERIAL.match(name)
    return serial[1] if serial else name


def _groups(patients: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name, patient in patients.items():
        groups[patient].append(name)
    return dict(groups)


def shared_patients(patients: Mapping[str, str]) -> dict[str, list[str]]:
    """The patients of several images, with these."""
    return {patient: names for patient, names in _groups(patients).items() if len(names) > 1}


def patients_by_pattern(names: Collection[str], pattern: str) -> dict[str, str]:
    r"""Each name's patient: the group of a regular expression such as ``(P\d+)_.*`` that fits the whole name.

    Raises:
        InputError: no regular expression with one group, one that takes seconds, or a name that it does not fit.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"--patient_pattern: expected a regular expression, found {shown(pattern)} ({error})"
        ) from error
    if expression.groups != 1:
        raise InputError(
            f"--patient_pattern: expected one group in parentheses, the patient, found {expression.groups} in "
            f"{shown(pattern)}; write (?:…) for others"
        )
    found: dict[str, str] = {}
    with _searching(f"--patient_pattern: {shown(pattern)} takes more than {_SECONDS} s; write a simpler one"):
        for name in names:
            match = expression.fullmatch(name)
            if match is None or not match[1]:
                raise InputError(
                    f"--patient_pattern: {shown(pattern)} finds no patient in the image {shown(name)}; it must fit the "
                    "whole name, without its ending"
                )
            found[name] = match[1]
    return found


def _searching(message: str) -> AbstractContextManager[None]:
    """Stops a search that backtracks for ever; Python looks for signals while it searches, in its main thread."""
    here = threading.current_thread() is threading.main_thread()
    return limited(_SECONDS, InputError(message)) if here else nullcontext()


def patients_by_table(names: Collection[str], path: str | os.PathLike) -> dict[str, str]:
    """Each name's patient from a CSV with the columns ``image`` and ``patient``.

    An image may be stated by its subject's name or by its path, which has that name as its last part or as a folder's.

    Raises:
        InputError: no such table, an image with two patients, or one that the table lacks.
    """
    path = Path(path)
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), skipinitialspace=True)
        columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--patients: {path} cannot be read as a table ({reason}); name a CSV file"
        ) from error
    if not {"image", "patient"} <= set(columns):
        raise InputError(
            f"{path}: expected the columns image and patient, found {shown(columns)}; name them in its first line"
        )
    stated: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        image, patient = (str(row[column] or "").strip() for column in ("image", "patient"))
        fault = name_fault(image) or name_fault(patient)
        if fault:
            raise InputError(f"{path}: line {line}: {fault}; state an image and its patient in every line")
        called = subject_name(image)
        called = next((part for part in (called, *Path(image).parts[:-1]) if part in names), called)
        if stated.setdefault(called, patient) != patient:
            raise InputError(f"{path}: line {line}: a second patient of {shown(image)}; keep one of them")
    missing = [name for name in names if name not in stated]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{path}: has no line of the image {shown(missing[0])}{more}; add it")
    return {name: stated[name] for name in names}


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


def in_drawn_order(names: Iterable[str], key: str) -> list[str]:
    """Different names in a random order that depends on ``key`` (a seed, say) and the names alone.

    The order of two names does not depend on which others there are, nor on where the files lie.
    """
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{key}/{name}".encode()).digest())
