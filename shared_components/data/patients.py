"""Whose images they are: told by a pattern, by a table, or guessed from folders and names such as P00_ED, P00_ES."""

from __future__ import annotations

import csv
import io
import os
import re
import threading
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from shared_components.data.names import DAY, VISIT, YEAR, is_visit, states_sizes
from shared_components.data.pairing import Pair, name_parts
from shared_components.errors import InputError, name_fault, shown
from shared_components.interrupts import limited

_BIDS = re.compile(r"(sub-[A-Za-z0-9]+)([_.-].*)?$")
_NAME = r"(.*\d.*?)[_. -]"  # whoever has a number of his own
_SERIAL = re.compile(_NAME + r"\d{1,2}$")
# P01_001 and P01_img001, of exported pictures
_SLICE = re.compile(_NAME + r"[a-z]{0,5}-?\d{1,4}$", re.IGNORECASE)
_KIND = re.compile(
    _NAME + rf"((?<!\d[.-]\d\d[.-]){YEAR}|{DAY}|" + r"[a-z]{1,5}|T[12](ce|gd|star|[wcnf])?|[LR]\d?|"
    r"(t|f|fr|frame|phase|v|visit|ses|session|run|scan|time|tp|acq|rep|day|week|month|m|w|slice|mr|series)-?\d{1,4}|"
    r"pre\w*|post\w*|baseline|follow-?up\d*)$",
    re.IGNORECASE,
)
_DATED = re.compile(rf"(.*?\w)[_. -]+{VISIT}$", re.IGNORECASE)  # whoever has no number
_DATE = re.compile(rf"{YEAR}|{DAY}")
_DATE_FIRST = re.compile(rf"{DAY}[_. -]+(?P<rest>.*[a-z].*)$", re.IGNORECASE)
_LETTER = re.compile(r"(.*\d)[a-e]$", re.IGNORECASE)
_LAYOUT_FOLDER = re.compile(r"images?(tr|ts)?", re.IGNORECASE)
_ROOM = re.compile(  # a folder of many patients
    r"(site|cent(er|re)|hospital|klinik|clinic|institut\w*|scanner|vendor|ward|batch|fold|group|cohort|"
    r"train|training|val|validation|test|testing|controls?|patients|subjects|healthy|cases)[_. -]?\w{0,3}",
    re.IGNORECASE,
)
_PATIENT = re.compile(r"(sub|subj|subject|pat|patient|case|p|id)[_. -]?\d+([_. -].*)?", re.IGNORECASE)
_SECONDS = 2  # of a pattern on all names; one that takes longer would never end
_MANY = 10  # images of one patient beyond which a guess is none
_LONGEST_PATH = 1000  # letters


def likely_patients(images: Mapping[str, str | os.PathLike]) -> dict[str, str]:
    """Each subject's patient, as far as the folders of the images tell, or where they do not, the subjects' names.

    What a folder for a visit (``2019``, ``visit1``) or a sequence lies in is a patient, and so is an outermost folder
    of few images, where such folders outnumber each one's images; ``P0/2019/t1.nii.gz`` is an image of ``P0``.
    Pictures are likely slices, of which a patient may have any number.

    Args:
        images: a subject to its image's path.
    Returns:
        Subject to patient; a subject of whom nothing tells is a patient of its own.
    """
    slices = not any(map(states_sizes, images.values()))
    owners = _owning_levels(_levels(list(images.values())), slices)
    found = dict(zip(images, map("_".join, owners), strict=True))
    return found if shared_patients(found) else guessed_patients(images, slices)


def _levels(images: Sequence[str | os.PathLike]) -> list[tuple[str, ...]]:
    """Of each image the folders in which images differ, from the outermost on, and its name where names differ."""
    parts = [name_parts(image, channels=False) for image in images]
    longest = max((len(each) - 1 for each in parts), default=0)
    differ = [place for place in range(longest) if len({each[:-1][place : place + 1] for each in parts}) > 1]
    levels = [[each[place] for place in differ if place < len(each) - 1] for each in parts]
    stems = [each[-1:] for each in parts] if len({each[-1] for each in parts}) > 1 else [()] * len(parts)
    return [
        (*(folder for folder in folders if not _LAYOUT_FOLDER.fullmatch(folder)), *stem)
        for folders, stem in zip(levels, stems, strict=True)
    ]


def _owning_levels(images: Sequence[tuple[str, ...]], slices: bool) -> Sequence[tuple[str, ...]]:
    """Of each image's levels those that name its patient; all of them where they tell nothing."""
    visits = [
        place
        for place in range(max(map(len, images), default=0))
        if all(is_visit(name) for levels in images for name in levels[place : place + 1])
    ]
    if visits and visits[0]:
        owners = [levels[: visits[0]] for levels in images]
    else:
        owners = [tuple(n for place, n in enumerate(levels) if place not in visits) for levels in images]
    if visits and all(owners) and _are_patients(owners, owners):  # however many visits
        return owners
    for depth in range(1, max(map(len, images), default=0)):
        owners = [levels[:depth] for levels in images]
        most = max(Counter(owners).values())
        few = most < len(set(owners)) and most <= min(_MANY, 0.75 * len(images))
        numbered = slices and all(any(map(str.isdigit, owner[-1])) for owner in owners)
        if (few or numbered) and _are_patients(owners, images):
            return owners
    return images


def _are_patients(owners: Sequence[tuple[str, ...]], images: Sequence[tuple[str, ...]]) -> bool:
    """Whether those of several images may be patients: not a site, nor all images, nor what holds patients."""
    several = {owner for owner, count in Counter(owners).items() if count > 1}
    inner = [
        levels[len(owner)].removeprefix(owner[-1])
        for owner, levels in zip(owners, images, strict=True)
        if owner in several and len(levels) > len(owner)
    ]
    return (
        bool(several)
        and len(set(owners)) > 1
        and not any(_ROOM.fullmatch(owner[-1]) for owner in several)
        and not (inner and all(map(_PATIENT.fullmatch, inner)))
    )


def guessed_patients(names: Collection[str], slices: bool = False) -> dict[str, str]:
    """Each name's patient, as far as names tell: what stands before an ending such as ``_ED``, ``_2019`` or ``_2``.

    Where a name has no number but that of the ending, or the ending is a mere number or a letter, it counts only where
    patients outnumber each one's images, since ``site1_07`` may be as well a subject of a site. A patient has few
    images, but any number of ``slices``.

    Returns:
        Name to patient; a name that tells nothing is a patient of its own.
    """
    if slices:
        stems = {name: name if _SLICE.match(name) else _stem(name) for name in names}
        return {name: match[1] if (match := _SLICE.match(stem)) else stem for name, stem in stems.items()}
    found = {name: _stem(name) for name in names}
    for shortened, more in ((_undated, 0), (_without_letters, 0), (_without_serials, 1)):
        short = shortened({*found.values()})
        patients = {name: _stem(short[stem]) for name, stem in found.items()}
        groups = _groups(patients)
        if len(groups) >= max((len(group) for group in groups.values()), default=0) + more:
            found = patients
    many = {patient for patient, group in _groups(found).items() if len(group) > _MANY}
    return {name: name if patient in many else patient for name, patient in found.items()}


def _stem(name: str) -> str:
    if bids := _BIDS.match(name):
        return bids[1]
    while (kind := _KIND.match(name)) and not _DATE.fullmatch(kind[1]):
        name = kind[1]
    return name


def _undated(names: Collection[str]) -> dict[str, str]:
    """Names without a visit at their end or a date before them."""
    dated = {name: _DATED.match(name) for name in names}
    first = {name: _DATE_FIRST.match(name) for name in names}
    return {
        name: match[1] if (match := dated[name]) else match["rest"] if (match := first[name]) else name
        for name in names
    }


def _without_letters(names: Collection[str]) -> dict[str, str]:
    """Names without a letter after their number, where ``a`` is among these letters."""
    return {
        name: match[1]
        if (match := _LETTER.match(name)) and not {f"{match[1]}a", f"{match[1]}A"}.isdisjoint(names)
        else name
        for name in names
    }


def _without_serials(names: Collection[str]) -> dict[str, str]:
    return {name: match[1] if (match := _SERIAL.match(name)) else name for name in names}


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
        text = path.read_text(encoding="utf-8-sig")
        between = next((mark for mark in ",;\t" if mark in text.partition("\n")[0]), ",")
        reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, delimiter=between)
        columns, rows = list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise InputError(f"--patients: {path} is no UTF-8 text ({error}); save it as CSV in UTF-8") from error
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
        image = image.replace("\\", "/")  # as Windows writes paths
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
