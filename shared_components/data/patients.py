"""Whose images they are: told by a pattern, by a table, or guessed from names such as P00_ED and P00_ES."""

from __future__ import annotations

import csv
import io
import os
import re
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from shared_components.data.pairing import Pair, name_parts
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
_LONGEST_PATH = 1000  # letters


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


def patients_by_table(pairs: Collection[Pair], path: str | os.PathLike) -> dict[str, str]:
    """Each subject's patient from a CSV with the columns ``image`` and ``patient``.

    An image may be stated by its subject's name or by its path, from any folder on; endings and nnU-Net's ``_0000``
    may be left out. Lines of other images are passed over.

    Raises:
        InputError: no such table, a line that fits several images, an image with two patients, or one that the table
            lacks.
    """
    path = Path(path)
    fitting = _Fitting(pairs)
    stated: dict[str, str] = {}
    for line, image, patient in _rows(path):
        found = fitting.pairs(image)
        if len(found) > 1:
            raise InputError(
                f"{path}: line {line}: expected one image, found {shown(image)}, which fits {len(found)}, such as "
                f"{found[0].image} and {found[1].image}; state its folders too, or the subject, such as "
                f"{shown(found[0].subject)}"
            )
        if found and stated.setdefault(found[0].subject, patient) != patient:
            raise InputError(f"{path}: line {line}: a second patient of {shown(image)}; keep one of them")
    missing = [pair.subject for pair in pairs if pair.subject not in stated]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{path}: has no line of the image {shown(missing[0])}{more}; add it")
    return {pair.subject: stated[pair.subject] for pair in pairs}


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number of the line, image and patient of a table's rows."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), skipinitialspace=True)
        columns, rows = list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--patients: {path} cannot be read as a table ({reason}); name a CSV file"
        ) from error
    if not {"image", "patient"} <= set(columns):
        raise InputError(
            f"{path}: expected the columns image and patient, found {shown(columns)}; name them in its first line"
        )
    for line, row in rows:
        image, patient = (str(row[column] or "").strip() for column in ("image", "patient"))
        fault = name_fault(image, _LONGEST_PATH) or name_fault(patient)
        if fault:
            raise InputError(f"{path}: line {line}: {fault}; state an image and its patient in every line")
        yield line, image, patient


class _Fitting:
    """Images by what a table may call them."""

    def __init__(self, pairs: Collection[Pair]) -> None:
        self._shared_folders = len(Path(os.path.commonpath([pair.image.parent for pair in pairs])).parts)
        self._by_subject = {pair.subject: pair for pair in pairs}
        self._cut: set[str] = {pair.subject for pair in pairs if pair.channel}
        self._by_name: dict[str, list[tuple[Pair, tuple[str, ...]]]] = defaultdict(list)
        for pair in pairs:
            for channels in {False, pair.channel}:
                parts = name_parts(pair.image, channels)
                self._by_name[parts[-1]].append((pair, parts))

    def pairs(self, image: str) -> list[Pair]:
        """Those that ``image`` may stand for, by the first way that finds any.

        It is a subject; a path from any folder on, or from elsewhere through the folders in which the images differ; a
        path with a subject's name in it.
        """
        whole, without = name_parts(image, channels=False), name_parts(image, channels=True)
        # a folder may look as if it had an ending
        for name in ("_".join(Path(unicodedata.normalize("NFC", image)).parts), "_".join(whole)):
            if subject := self._by_subject.get(name):
                return [subject]
        if "_".join(without) in self._cut:
            return [self._by_subject["_".join(without)]]
        by_path = self._by_path(whole) or [pair for pair in self._by_path(without) if pair.channel]
        return by_path or [
            self._by_subject[part]
            for part in dict.fromkeys((*whole, without[-1]))
            if part in self._by_subject and (part in whole or part in self._cut)
        ]

    def _by_path(self, stated: tuple[str, ...]) -> list[Pair]:
        return [
            pair
            for pair, parts in self._by_name.get(stated[-1], [])
            if _ends_with(parts, stated) or _ends_with(stated, parts[self._shared_folders :])
        ]


def _ends_with(parts: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return parts[-len(end) :] == end
