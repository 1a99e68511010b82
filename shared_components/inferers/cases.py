"""Which volumes a user means: a folder, a glob, a file, a list (or a file of one) of these, or a client data root."""

from __future__ import annotations

import functools
import glob
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.data.client_root import ClientRoot, refuse_other_classes
from shared_components.data.dataset_json import ALL, DATASET_FILE, splits_of
from shared_components.data.dicom import is_dicom
from shared_components.data.faults import one_line
from shared_components.data.image_files import (
    first_image_below,
    header_of,
    images_in,
    is_image,
    unread_volumes,
)
from shared_components.data.names import IMAGE_SUFFIXES, subject_name
from shared_components.errors import InputError, counted

CASE_LIST = "cases.json"
"""In an inference run's output folder: what it has segmented."""

OUTPUT_SUFFIX = "_seg"
PROBABILITY_SUFFIX = "_prob"
_OUTPUT = re.compile(rf"(.+?)({OUTPUT_SUFFIX}|(_t\d+)?{PROBABILITY_SUFFIX})")

_FRAME = re.compile(r"_t\d{2,}$")

Case = dict[str, Any]
SUFFIXES = (".txt", ".lst", ".list", ".json")
"""In place of a client data root's list: all of them."""


def find_cases(
    source: str | os.PathLike | Mapping | Sequence,
    split: str = "test",
    labelled: bool | None = None,
    labels: Mapping[int, str] | None = None,
) -> list[Case]:
    """List the volumes to segment, each under a name of its own.

    Args:
        source: one of, or a list of: an image's file (NIfTI, NRRD, MetaImage, a picture, DICOM by its content); a
            folder with one DICOM series; a folder of images or of DICOM series (its sub-folders are not searched for
            files); a glob pattern (``**`` searches sub-folders); a client data root (a folder with ``dataset.json``);
            a list file: text with one of these a line (``#`` begins a comment), or a JSON list of these; paths
            in it are relative to its own folder;
            a mapping ``{"image": path}`` with, if wanted, ``"label"`` and ``"case"``.
            In a folder or a glob, ``x_seg.*`` and ``x_prob.*`` beside ``x.*`` are earlier outputs, not inputs.
        split: of a client data root: which of its lists; ``all``: every one.
        labelled: keep only cases with (``True``) or without (``False``) a label; ``None`` keeps all.
        labels: class names by value that the labels of client data roots must have; ``None``: any.
    Returns:
        (the files are not opened: what is wrong with them shows when they are read)
        ``{"image": path, "case": name}``, and ``"label": path`` where one is known, in a stable order;
        ``case`` is the file's name without suffixes, with as many folder names before it as it takes to
        be unique.
    Raises:
        InputError: nothing found, a path that does not exist (one in a list file is a case, whose fault shows when
            it is read), two volumes that would be written under one name, or a data root of other classes.
    """
    entries = [source] if isinstance(source, (str, os.PathLike, Mapping)) else list(source)
    if labels is not None:
        refuse_other_classes(_labelled_roots(entries, split), labels)
    found = [case for entry in entries for case in _cases_of(entry, split)]
    found = [case | {"image": str(header_of(case["image"]))} for case in found]
    found = list({case["image"]: case for case in found}.values())
    if labelled is not None:
        found = [case for case in found if ("label" in case) == labelled]
    if not found:
        kind = {None: "", True: "labelled ", False: "unlabelled "}[labelled]
        raise InputError(
            f"{_shown(source)}: expected at least one {kind}volume, found none; name a file, a folder of "
            "volumes, a pattern such as 'folder/**/*.nii.gz', or a client data root whose "
            f"'{split}' list has such items (--split all: any of its lists)"
        )
    return _named(found)


def case_of(name: str, cases: Collection[str]) -> str | None:
    """Which case a row of a score table belongs to: that of its name, else the time series of its frame.

    Args:
        name: a case's, or of a frame, ``<case>_t00``.
        cases: names of all cases.
    """
    return next((own for own in (name, _FRAME.sub("", name)) if own in cases), None)


def tell_left_out(source: object, split: str) -> None:
    """Print what of a client data root or of a folder is not segmented, if anything.

    Args:
        source: as of :func:`find_cases`.
        split: likewise.
    """
    if not isinstance(source, (str, os.PathLike)):
        return
    path = Path(source).expanduser()
    if root := _client_root(path):
        _tell_lists(root, split)
    elif path.is_dir():
        _tell_folder(path)


def _tell_folder(folder: Path) -> None:
    """Print which files beside a folder's images, or below it, are none of those that are segmented."""
    if unread := unread_volumes(folder, deep=False):
        print(f"note: {unread}")
    if below := _first_below(folder):
        print(
            f"note: images in folders below {folder} are not taken, such as {below}; '{folder}/**/*' takes all"
        )


def _first_below(folder: Path) -> Path | None:
    """An image in a folder below ``folder`` in which no inference run has written."""
    return first_image_below(folder, passed_over=lambda place: (place / CASE_LIST).exists())


def _tell_lists(root: Path, split: str) -> None:
    """Print how many of a data root's images are not in the list that is segmented."""
    if split == ALL:
        return
    counts = {name: len(entries) for name, entries in ClientRoot.load(root).splits.items()}
    taken, total = counts.get(split, 0), sum(counts.values())
    if taken < total:
        print(
            f"note: {root} is a client data root; {taken} of its {counted(total, 'image')} are in its "
            f"'{split}' list, and those are taken (--split all: every one)"
        )


def _cases_of(entry: str | os.PathLike | Mapping, split: str) -> list[Case]:
    if isinstance(entry, Mapping):
        return [_stated_case(entry)]
    path = Path(entry).expanduser()
    if root := _client_root(path):
        return _root_cases(root, split)
    if path.is_dir():
        return _folder_cases(path)
    if path.is_file() and _is_list(path):
        return [case for item in _read_list(path) for case in _listed_cases(item, split)]
    if os.path.lexists(path):  # a link that leads nowhere too: reading it says what is wrong
        return [_case(path)]
    volumes = _without_outputs(_pattern_images(path))
    if not volumes:
        raise InputError(
            f"{entry}: expected a volume, a folder or a pattern that matches volumes, found none; "
            "name one with --dataset_dir"
        )
    return [_case(volume) for volume in volumes]


def _listed_cases(entry: str | dict, split: str) -> list[Case]:
    """An entry of a list file: as if given alone, but a volume that is not there does not stop the others."""
    if isinstance(entry, dict):
        return [_stated_case(entry, must_exist=False)]
    if _is_list(entry) and Path(entry).name != DATASET_FILE:
        raise InputError(f"{entry}: expected a volume, found a list in a list; name its volumes in one list")
    if not os.path.lexists(entry) and not glob.has_magic(entry):
        return [_case(entry)]
    return _cases_of(entry, split)


def _matches(pattern: Path) -> list[Path]:
    """What a pattern finds, each file once, though links lead round in a circle."""
    found: dict[tuple[str, str], Path] = {}
    for match in sorted(glob.glob(str(pattern), recursive=True), key=lambda path: (path.count(os.sep), path)):
        path = Path(match)
        found.setdefault((os.path.realpath(path.parent), path.name), path)
    return sorted(found.values())


def _case(path: str | Path) -> Case:
    return {"image": os.path.abspath(path)}


def _stated_case(entry: Mapping, must_exist: bool = True) -> Case:
    if "image" not in entry:
        raise InputError(f"case {dict(entry)}: expected a key 'image' with a volume's path")
    case = {
        key: os.path.abspath(Path(entry[key]).expanduser()) for key in ("image", "label") if entry.get(key)
    }
    missing = [path for path in case.values() if not Path(path).exists()]
    if missing and must_exist:
        raise InputError(f"{missing[0]}: expected a volume, found nothing; check the path")
    return case | ({"case": str(entry["case"])} if "case" in entry else {})


def _client_root(path: Path) -> Path | None:
    """The client data root that a path or its ``dataset.json`` names."""
    folder = path.parent if path.name == DATASET_FILE else path
    return folder if (folder / DATASET_FILE).is_file() else None


def _labelled_roots(entries: Sequence[str | os.PathLike | Mapping], split: str) -> list[ClientRoot]:
    """The client data roots among some sources that have labels in the lists that are meant."""
    paths = [Path(entry).expanduser() for entry in entries if not isinstance(entry, Mapping)]
    roots = [ClientRoot.load(folder) for folder in map(_client_root, paths) if folder]
    return [root for root in roots if any(root.items(name, labelled=True) for name in splits_of(split))]


def _root_cases(root: Path, split: str) -> list[Case]:
    keep = {
        "image": "image",
        "label": "label",
        "annotated": "annotated",
        "ignore": "ignore",
        "subject": "case",
    }
    return [
        {new: item[old] for old, new in keep.items() if old in item}
        for name in splits_of(split)
        for item in ClientRoot.load(root).items(name)
    ]


def _folder_cases(folder: Path) -> list[Case]:
    images = images_in(folder)
    volumes = images if images == [folder] else _without_outputs(images)
    if not volumes:
        unread = unread_volumes(folder, deep=False)
        below = _first_below(folder)
        raise InputError(
            f"{folder}: expected volumes ({', '.join(IMAGE_SUFFIXES)} or DICOM series), found none in the folder "
            f"itself; a pattern searches the folders below it: '{folder}/**/*'"
            f"{f', which finds {below}' if below else ''}{f'; {unread}' if unread else ''}"
        )
    return [_case(volume) for volume in volumes]


def _pattern_images(pattern: Path) -> list[Path]:
    """The images that a pattern finds; slices of a series stand for its folder."""
    beside = functools.cache(images_in)  # of a series' folder, not once a slice
    found = []
    for match in filter(is_image, map(header_of, _matches(pattern))):
        stacked = is_dicom(match) and beside(match.parent) == [match.parent]
        found.append(match.parent if stacked else match)
    return list(dict.fromkeys(found))


def _without_outputs(volumes: list[Path]) -> list[Path]:
    inputs = {(volume.parent, subject_name(volume)) for volume in volumes}

    def is_output(volume: Path) -> bool:
        output = _OUTPUT.fullmatch(subject_name(volume))
        return output is not None and (volume.parent, output[1]) in inputs

    return [volume for volume in volumes if not is_output(volume)]


def _named(cases: list[Case]) -> list[Case]:
    """Give each case its name: the file's, with as many folders before it as set it apart from the others."""
    depths = [0] * len(cases)
    names = [_name(case, 0) for case in cases]
    while clashes := [index for index, name in enumerate(names) if names.count(name) > 1]:
        deeper = [index for index in clashes if depths[index] < _depth_limit(cases[index])]
        places = {(Path(cases[index]["image"]).parent, names[index]) for index in clashes}
        if not deeper or len(places) < len(clashes):
            same = [cases[index]["image"] for index in clashes if names[index] == names[clashes[0]]]
            raise InputError(
                f"{' and '.join(same)}: would be one file, {names[clashes[0]]}{OUTPUT_SUFFIX}.nii.gz; "
                "rename them, or segment them in separate runs"
            )
        for index in deeper:
            depths[index] += 1
            names[index] = _name(cases[index], depths[index])
    return [case | {"case": name} for case, name in zip(cases, names, strict=True)]


def _name(case: Case, depth: int) -> str:
    if "case" in case:
        return case["case"]
    folders = Path(case["image"]).parent.parts
    return "_".join([*folders[len(folders) - depth :], subject_name(case["image"])])


def _depth_limit(case: Case) -> int:
    return 0 if "case" in case else len(Path(case["image"]).parent.parts) - 1


def _shown(source: object) -> str:
    text = str(source)
    return text if len(text) <= 200 else text[:200] + " …"


def _is_list(path: str | Path) -> bool:
    """Whether a file's name is that of a list."""
    return Path(path).suffix.lower() in SUFFIXES


def _read_list(file: str | Path) -> list[str | dict]:
    """The entries of a list file.

    Args:
        file: text with one path a line (blank lines and those that begin with ``#`` do not count), or a JSON list
            of paths or of ``{"image": path}`` with, if wanted, ``"label"`` and ``"case"``.
    Returns:
        The entries; paths relative to the file's folder are made absolute.
    Raises:
        InputError: unreadable, or not such a list.
    """
    file = Path(file).absolute()
    try:
        text = file.read_text(encoding="utf-8-sig")
        entries = json.loads(text) if file.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: expected a list of volumes, could not read it ({one_line(error)}); write one path a line "
            "into a .txt, or a JSON list of paths into a .json"
        ) from error
    if not isinstance(entries, list) or not all(isinstance(entry, str | dict) for entry in entries):
        raise InputError(
            f'{file}: expected a list of paths or of {{"image": path}}, found something else; name a client data '
            "root by its folder"
        )
    return [_placed(file.parent, entry) for entry in entries]


def _lines(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _placed(folder: Path, entry: str | dict) -> str | dict:
    if isinstance(entry, str):
        return str(folder / Path(entry).expanduser())
    paths = {key: _placed(folder, str(entry[key])) for key in ("image", "label") if entry.get(key)}
    return entry | paths
