"""The M&Ms challenge (cardiac cine MRI of four vendors) as client data roots.

Published layout: a table ``…_M&Ms_Dataset_information_diagnosis_opendataset.csv`` beside the folders
``Training/Labeled``, ``Training/Unlabeled``, ``Validation`` and ``Testing``; in them ``<code>/<code>_sa.nii.gz``, a 4-D
cine, and ``<code>_sa_gt.nii.gz``, labels of its end-diastolic and end-systolic frames.

Source: Campello et al. 2021, Multi-Centre, Multi-Vendor and Multi-Disease Cardiac Segmentation: The M&Ms Challenge.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.spatialimages import SpatialImage

from shared_components.data.challenges.writing import (
    Description,
    Volume,
    drawn_splits,
    files_below,
    label_map,
    match_grids,
    open_image,
    refuse_existing,
    voxels,
    whole_roots,
    write_description,
    write_volume,
)
from shared_components.data.nifti import world_affine
from shared_components.errors import InputError
from shared_components.steps import steps

LABELS = {0: "background", 1: "left ventricle", 2: "myocardium", 3: "right ventricle"}
_ENDINGS = ("_sa.nii.gz", "_sa.nii")
_SPLITS = {"training": "training", "validation": "validation", "testing": "test", "test": "test"}
_UNLABELLED = ("unlabeled", "unlabelled")
COLUMNS = ("External code", "Vendor", "Centre", "ED", "ES")
_PUBLISHED = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"


class CineSubject(NamedTuple):
    """A subject's cine, its label map where the challenge gives one, and the folder it was published in."""

    code: str
    split: str
    cine: Path
    label: Path | None
    row: TableRow


def prepare_mnms(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    by: str = "vendor",
    splits: str = "published",
    unlabelled_frames: int = 0,
    use_all_labels: bool = False,
    table: str | os.PathLike | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    force: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Write a client data root for every vendor (``out/A`` …) or centre (``out/centre1`` …).

    The two frames of every subject that the table names become the volumes ``<code>_ED`` and ``<code>_ES``, with
    their labels; subjects in ``Training/Unlabeled`` keep none.

    Args:
        source: the challenge's folder.
        out: folder for the client data roots.
        by: ``"vendor"`` or ``"centre"``.
        splits: ``"published"`` keeps the challenge's folders (the fourth vendor has no training subjects there);
            ``"random"`` splits each domain's labelled subjects anew, so that each domain can train, and trains on
            all others.
        unlabelled_frames: this many more frames of each training cine, evenly spaced, without labels.
        use_all_labels: use labels found in ``Training/Unlabeled`` too.
        table: the challenge's CSV; looked for in ``source`` when ``None``.
        validation: fraction of the subjects for validation, of random splits.
        test: fraction of the subjects for testing, of random splits.
        seed: seed of random splits.
        force: replace data roots that are there.
        progress: tell how far each domain's subjects are.
    Returns:
        The client data roots.
    Raises:
        InputError: another folder structure, a subject without a row, a frame that the cine lacks or that has no
            label though its subject has, a file that cannot be read.
    """
    source, out = Path(source), Path(out)
    _choice("by", by, ("vendor", "centre"))
    _choice("splits", splits, ("published", "random"))
    if not isinstance(unlabelled_frames, int) or unlabelled_frames < 0:
        raise InputError(f"unlabelled_frames: expected a number of at least 0, found {unlabelled_frames!r}")
    subjects = find_subjects(source, None if table is None else Path(table), use_all_labels)
    domains: dict[str, list[CineSubject]] = defaultdict(list)
    for subject in subjects:
        domains[subject.row.vendor if by == "vendor" else f"centre{subject.row.centre}"].append(subject)
    refuse_existing(out, list(domains), force)
    with whole_roots(out, domains) as place:
        for domain, subjects in sorted(domains.items()):
            anew = splits == "random"
            members = _split_anew(subjects, validation, test, f"{seed}/{domain}") if anew else subjects
            entries: dict[str, list[dict[str, str]]] = defaultdict(list)
            for subject in steps(members, domain, "subject", progress):
                volumes = _volumes(subject, unlabelled_frames if subject.split == "training" else 0)
                entries[subject.split] += [write_volume(place / domain, volume) for volume in volumes]
            described = Description(f"M&Ms {domain}", domain, "cine MRI", LABELS)
            write_description(place / domain, described, entries)
    return [out / domain for domain in sorted(domains)]


def find_subjects(source: Path, table: Path | None = None, use_all_labels: bool = False) -> list[CineSubject]:
    """All subjects below ``source``, in order of their codes; arguments as of :func:`prepare_mnms`."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; name the folder of the challenge")
    table = table or _find_table(source)
    rows = read_table(table)
    subjects: dict[str, CineSubject] = {}
    for cine in (file for file in files_below(source) if file.name.lower().endswith(_ENDINGS)):
        code = cine.name[: cine.name.lower().rindex("_sa.")]
        if code.upper() not in rows:
            raise InputError(
                f"{cine}: expected a row {code!r} in {table}, found none; add it or remove the subject"
            )
        if code in subjects:
            raise InputError(
                f"{cine}: a second cine of {code!r} beside {subjects[code].cine}; keep one of them"
            )
        folders = [part.lower() for part in cine.relative_to(source).parts[:-1]]
        label = _label_of(cine, code) if use_all_labels or not set(_UNLABELLED) & set(folders) else None
        subjects[code] = CineSubject(
            code, _published_split(source, cine, folders), cine, label, rows[code.upper()]
        )
    if not subjects:
        raise InputError(
            f"{source}: expected cines Training/Labeled/<code>/<code>_sa.nii.gz (and Training/Unlabeled, Validation, "
            "Testing), found none; name the folder that holds Training"
        )
    return [subjects[code] for code in sorted(subjects)]


def _choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{name}: expected {' or '.join(known)}, found {value!r}")


def _published_split(source: Path, cine: Path, folders: Sequence[str]) -> str:
    split = next((_SPLITS[folder] for folder in folders if folder in _SPLITS), None)
    if split is None:
        raise InputError(
            f"{cine}: expected it in Training, Validation or Testing below {source}, as published; "
            "restore these folders, or name the folder that holds them"
        )
    return split


def _label_of(cine: Path, code: str) -> Path | None:
    wanted = {f"{code}_sa_gt{suffix}".lower() for suffix in (".nii.gz", ".nii")}
    return next((file for file in sorted(cine.parent.iterdir()) if file.name.lower() in wanted), None)


def _split_anew(
    subjects: Sequence[CineSubject], validation: float, test: float, key: str
) -> list[CineSubject]:
    """Labelled subjects over all splits; the others can only train."""
    drawn = drawn_splits([s.code for s in subjects if s.label is not None], validation, test, key)
    return [subject._replace(split=drawn.get(subject.code, "training")) for subject in subjects]


def _volumes(subject: CineSubject, unlabelled_frames: int) -> Iterator[Volume]:
    """The labelled frames of a subject, and others without labels."""
    cine = open_image(subject.cine)
    frames = cine.shape[3] if len(cine.shape) == 4 else 0
    named = {"ED": subject.row.ed, "ES": subject.row.es}
    for column, frame in named.items():
        if frame >= frames:
            raise InputError(
                f"{subject.cine}: expected a 4-D cine with the frame {column} = {frame} that the table names, found "
                f"{'×'.join(map(str, cine.shape))} voxels; correct the table's row {subject.code!r}"
            )
    labels = None if subject.label is None else open_image(subject.label)
    if labels is not None:
        match_grids(labels, cine)
    for column, frame in named.items():
        label = None if labels is None else _frame_label(labels, column, frame)
        yield Volume(f"{subject.code}_{column}", subject.code, voxels(cine, frame), world_affine(cine), label)
    others = [frame for frame in range(frames) if frame not in named.values()]
    for frame in _evenly(others, unlabelled_frames):
        yield Volume(f"{subject.code}_t{frame:02d}", subject.code, voxels(cine, frame), world_affine(cine))


def _frame_label(labels: SpatialImage, column: str, frame: int) -> np.ndarray:
    array = label_map(voxels(labels, frame), LABELS, labels.get_filename())
    if not array.any():
        full = [t for t in range(labels.shape[3]) if voxels(labels, t).any()]
        raise InputError(
            f"{labels.get_filename()}: expected labels in the frame {column} = {frame} that the table names, found "
            f"them in {', '.join(map(str, full)) or 'none'}; correct the table's row"
        )
    return array


def _evenly(frames: Sequence[int], count: int) -> list[int]:
    count = min(count, len(frames))
    return [frames[(2 * k + 1) * len(frames) // (2 * count)] for k in range(count)]


class TableRow(NamedTuple):
    """A subject's row: vendor such as ``"A"``, centre such as ``"1"``, frames counted from 0."""

    vendor: str
    centre: str
    ed: int
    es: int


def _find_table(source: Path) -> Path:
    """The challenge's CSV in ``source`` or a folder above the subjects' folders.

    Raises:
        InputError: no table with the columns wanted, or several.
    """
    files = [file for file in files_below(source) if file.suffix.lower() == ".csv"]
    fitting = [file for file in files if not _missing(_lines(file))]
    if len(fitting) == 1:
        return fitting[0]
    found = f"{len(fitting)} such files" if fitting else f"{len(files)} CSV files, none with these columns"
    raise InputError(
        f"{source}: expected one table like {_PUBLISHED} with the columns {', '.join(COLUMNS)}, found {found}; "
        "name the challenge's folder, or the table with --table"
    )


def read_table(file: Path) -> dict[str, TableRow]:
    """Rows by subject's code in upper case; separators ``,``, ``;`` and tabs, columns in any order and case.

    Raises:
        InputError: a column is missing, or a row has no whole numbers for its frames.
    """
    lines = _lines(file)
    if missing := _missing(lines):
        raise InputError(
            f"{file}: expected the columns {', '.join(COLUMNS)}, found none named {missing[0]!r}; "
            "use the challenge's own table"
        )
    places = [_headers(lines).index(_plain(column)) for column in COLUMNS]
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = [line[place].strip() if place < len(line) else "" for place in places]
        if cells[0]:
            rows[cells[0].upper()] = _row(f"{file}, line {number}", *cells[1:])
    return rows


def _row(where: str, vendor: str, centre: str, ed: str, es: str) -> TableRow:
    if not vendor or not centre:
        raise InputError(
            f"{where}: expected a vendor and a centre, found {vendor!r} and {centre!r}; fill them in"
        )
    return TableRow(
        vendor.upper(), centre.removesuffix(".0"), _frame(where, "ED", ed), _frame(where, "ES", es)
    )


def _frame(where: str, column: str, text: str) -> int:
    number = text.removesuffix(".0")  # spreadsheets turn columns with gaps into decimals
    if not number.isdecimal():
        raise InputError(
            f"{where}: {column} expected a frame, counted from 0, found {text!r}; correct the table"
        )
    return int(number)


def _lines(file: Path) -> list[list[str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = file.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name the table with --table") from error
    header = text.partition("\n")[0]
    return list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count)))


def _headers(lines: list[list[str]]) -> list[str]:
    return [_plain(cell) for cell in lines[0]] if lines else []


def _missing(lines: list[list[str]]) -> list[str]:
    return [column for column in COLUMNS if _plain(column) not in _headers(lines)]


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()
