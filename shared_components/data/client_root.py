"""A client's data root: a folder and its ``dataset.json``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_components.data.dataset_json import (
    DATASET_FILE,
    SPLITS,
    is_ignore_value,
    read_description,
    unknown_key_cure,
)
from shared_components.data.dicom import is_dicom
from shared_components.data.faults import Fault, dangling_link, in_one_line
from shared_components.data.image_files import files_of
from shared_components.data.label_maps import ANNOTATED, CLASSES, IGNORE, Annotated
from shared_components.data.names import entry_subject, subject_name
from shared_components.data.voxel_headers import naming_faults
from shared_components.errors import InputError, has_unprintable, name_fault, printable, shown
from shared_components.files import inside, lies_in, path_fault

_PATHS = ("image", "label")
_NAMES = ("subject", "patient")
_TEXTS = (*_PATHS, *_NAMES)
_KEYS = (*_TEXTS, ANNOTATED)
_OWN_NAME = 'give each subject a name of its own: rename the files, or write "subject": "…" into the entries'
_LONGEST_SUBJECT = 200  # bytes, of the 255 that a file name may have


def data_roots(dataset_dir: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str | os.PathLike]:
    """The folders that ``dataset_dir`` names, one or several."""
    return [dataset_dir] if isinstance(dataset_dir, (str, os.PathLike)) else list(dataset_dir)


@dataclass(frozen=True)
class ClientRoot:
    """What ``dataset.json`` says, its structure checked; the images themselves are not opened.

    Attributes:
        root: the folder, resolved.
        name: the data's name.
        domain: the domain's name in the federation.
        modality: channel number to modality, as in the Decathlon format.
        labels: label value to class name.
        splits: for ``training``, ``validation`` and ``test`` the ``{"image": …, "label": …}`` entries, with
            paths relative to ``root``; an entry without ``label`` is unlabelled, ``subject`` may name what the
            image's file does not, and ``patient`` whose image it is where a patient has several.
        ignore: the value of voxels that nobody annotated in the label maps; ``None`` for none.
    """

    root: Path
    name: str
    domain: str
    modality: dict[str, str]
    labels: dict[int, str]
    splits: dict[str, list[dict[str, Any]]]
    ignore: int | None = None

    @classmethod
    def load(cls, root: str | os.PathLike) -> ClientRoot:
        """Read and check ``dataset.json`` of the folder ``root``.

        Raises:
            InputError: the file is missing or faulty; the text holds the first five faults, on one line.
        """
        content, faults = read_description(root)
        faults = faults + read_entries(root, content)[1]
        if faults:
            raise InputError(in_one_line(faults))
        return cls(
            root=Path(root).resolve(),
            name=content["name"],
            domain=content["domain"],
            modality=dict(content.get("modality", {})),
            labels={int(value): name for value, name in content["labels"].items()},
            splits={split: list(content.get(split, [])) for split in SPLITS},
            ignore=content.get(IGNORE),
        )

    @property
    def file(self) -> Path:
        """The ``dataset.json``."""
        return self.root / DATASET_FILE

    def read_for(self, splits: Iterable[str], labels: bool = True) -> dict[str, Any]:
        """What somebody reads of ``dataset.json`` who reads some splits, with their labels or without."""
        left_out = () if labels else ("label", ANNOTATED)
        entries = {
            split: [{k: v for k, v in entry.items() if k not in left_out} for entry in self.splits[split]]
            for split in splits
        }
        known = {"labels": self.labels, IGNORE: self.ignore} if labels else {}
        return {"domain": self.domain, **known, **entries}

    def items(self, split: str, labelled: bool | None = None) -> list[dict[str, Any]]:
        """Entries of a split: ``{"image", "label", "domain", "subject"}``, absolute paths; no absent labels.

        An entry's ``patient`` is passed on, and with a label what it may hold (the root's ``classes``) and what says
        which of it is known: the entry's ``annotated`` and the root's ``ignore``.

        Args:
            split: ``training``, ``validation`` or ``test``.
            labelled: ``True`` or ``False`` keeps the entries with or without a label; ``None`` keeps all.
        Raises:
            InputError: there is no such split.
        """
        if split not in SPLITS:
            raise InputError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
        chosen = [e for e in self.splits[split] if labelled is None or ("label" in e) == labelled]
        return [self._item(entry) for entry in chosen]

    def _item(self, entry: dict[str, Any]) -> dict[str, Any]:
        paths = {key: os.path.normpath(self.root / entry[key]) for key in ("image", "label") if key in entry}
        named = {"patient": entry["patient"]} if "patient" in entry else {}
        known = {ANNOTATED: entry.get(ANNOTATED), IGNORE: self.ignore, CLASSES: sorted(self.labels)}
        known = known if "label" in entry else {}
        known = {key: value for key, value in known.items() if value is not None}
        return paths | named | known | {"domain": self.domain, "subject": entry_subject(entry)}


@dataclass(frozen=True)
class Entry:
    """An entry of a split with an image that can be opened.

    Attributes:
        split: ``training``, ``validation`` or ``test``.
        subject: what the entry calls it, or the image's file name without its ending; outputs are named by it.
        image: the image's path.
        label: the label map's path; ``None`` for an unlabelled entry, and for a label that has a fault.
        labelled: whether the entry names a label.
        patient: whose image it is, where the entry says so: several images of one patient stay in one split.
        known: ``annotated`` and ``ignore``, which say what of the label map is known; see :mod:`.label_maps`.
    """

    split: str
    subject: str
    image: Path
    label: Path | None
    labelled: bool
    patient: str | None = None
    known: Mapping[str, Any] = field(default_factory=dict)


def read_entries(root: str | os.PathLike, content: dict[str, Any]) -> tuple[list[Entry], list[Fault]]:
    """The entries of all splits whose image exists, and the faults of all entries.

    Args:
        root: the data root.
        content: a parsed ``dataset.json``.
    """
    root = Path(root)
    entries: list[Entry] = []
    faults: list[Fault] = []
    for split in SPLITS:
        listed = content.get(split, [])
        for number, raw in enumerate(listed if isinstance(listed, list) else []):
            misshapen = list(_shape_faults(f"{root / DATASET_FILE}", f"{split}[{number}]", raw))
            faults += misshapen
            if misshapen and not (isinstance(raw, dict) and isinstance(raw.get("image"), str)):
                continue
            sound = {}
            for key in _PATHS:
                if isinstance(raw.get(key), str) and raw[key].strip():
                    fault = _path_fault(root, raw[key])
                    faults += [fault] if fault else []
                    sound[key] = root / raw[key] if fault is None else None
            if sound.get("image") is not None:
                subject = entry_subject(raw)
                label, patient = sound.get("label"), raw.get("patient")
                known = {IGNORE: content[IGNORE]} if is_ignore_value(content.get(IGNORE)) else {}
                known |= (
                    {ANNOTATED: raw[ANNOTATED]} if raw.get(ANNOTATED) is not None and not misshapen else {}
                )
                entries.append(Entry(split, subject, sound["image"], label, "label" in raw, patient, known))
    return entries, faults + list(_repeats(entries)) + list(_patients_in_two_splits(root, entries))


def _shape_faults(file: str, where: str, entry: Any) -> Iterator[Fault]:
    if not isinstance(entry, dict):
        cure = f'write {{"image": {entry!r}}}' if isinstance(entry, str) else 'write {"image": "…"}'
        found = shown(entry)
        yield Fault(file, f"{where}: expected an object, found {found}", cure.replace("'", '"'))
        return
    for key in entry:
        if key not in _KEYS:
            yield Fault(file, f"{where}: unknown key {shown(key)}", unknown_key_cure(key, _KEYS))
    if "image" not in entry:
        yield Fault(file, f"{where}: has no 'image'", 'add "image": the image\'s path within the root')
    for key in _TEXTS:
        if key in entry and not (isinstance(entry[key], str) and entry[key].strip()):
            expected = "a path" if key in _PATHS else "a name"
            cure = "leave the key out for an image without a label" if key == "label" else f"write {expected}"
            found = shown(entry[key])
            yield Fault(file, f"{where}: {key!r} expected {expected}, found {found}", cure)
        elif key in _NAMES and key in entry and (fault := _naming_fault(key, entry[key])):
            yield Fault(file, f"{where}: {key!r} {fault}", "write a short name")
    yield from _annotated_faults(where, file, entry)


def _naming_fault(key: str, name: str) -> str | None:
    """Why a patient or a subject cannot be called so; the latter also names files."""
    if key == "subject" and (Path(name).name != name or name.startswith(".") or "\\" in name):
        return f"expected a name that a file can have, found {shown(name)}"
    if key == "subject" and len(os.fsencode(name)) > _LONGEST_SUBJECT:
        return f"expected a name of at most {_LONGEST_SUBJECT} bytes, found {len(os.fsencode(name))}"
    return name_fault(name)


def _annotated_faults(where: str, file: str, entry: dict[str, Any]) -> Iterator[Fault]:
    if entry.get(ANNOTATED) is None:
        return
    if "label" not in entry:
        cure = f"name the label map, or leave {ANNOTATED!r} out"
        yield Fault(file, f"{where}: {ANNOTATED!r} without a 'label'", cure)
    try:
        Annotated.parse(entry[ANNOTATED])
    except InputError as error:
        fault, cure = str(error).split("; ", 1)
        yield Fault(file, f"{where}: {ANNOTATED!r} {fault}", cure)


def _path_fault(root: Path, path: str) -> Fault | None:
    place = root / path
    fault = path_fault(place)
    if fault is not None:
        return Fault(str(place), fault, "correct the path or take the entry out")
    if has_unprintable(path):
        return Fault(str(place), "its path holds a control character", "rename the file")
    if len(os.fsencode(subject_name(path))) > _LONGEST_SUBJECT:
        fault = f"its name has more than {_LONGEST_SUBJECT} bytes"
        return Fault(str(place), fault, "shorten it: segmentations are named by it, with an ending")
    if Path(path).is_absolute():
        return Fault(str(place), "an absolute path leaves the root", f"write it relative to {root}")
    try:
        resolved = inside(root, path)
    except InputError:
        where = "by '..'" if ".." in Path(path).parts else "through a link"
        return Fault(str(place), f"leaves the root {where}", f"move or copy the file into {root}")
    if not resolved.exists():
        if place.is_symlink():
            return dangling_link(place)
        return Fault(str(place), "no such file", _missing_cure(root, path))
    if not (resolved.is_file() or resolved.is_dir()):
        return Fault(str(place), "expected a file or a folder, found a pipe or device", "name an image file")
    return _companion_fault(root, place)


def _companion_fault(root: Path, place: Path) -> Fault | None:
    """Voxels outside the root: that a header names, or links to them beside it or in a folder of DICOM."""
    try:
        hidden = next(naming_faults(place), None)
        files = _linked_dicom(place) if place.is_dir() else files_of(place)[1:]
        away = next((file for file in files if not lies_in(file, root)), None)
    except OSError:  # it may not be read, which is told when the image is
        return None
    if hidden is not None:
        return hidden
    if away is None:
        return None
    fault = f"its voxels, {printable(os.fspath(away))}, leave the root"
    return Fault(str(place), fault, f"move or copy that file into {root}")


def _linked_dicom(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        links = [Path(entry.path) for entry in entries if entry.is_symlink()]
    return [link for link in links if not link.name.startswith(".") and is_dicom(link)]


def _missing_cure(root: Path, path: str) -> str:
    if "\\" in path:
        return "write the path with '/' instead of '\\'"
    folder = (root / path).parent
    names = [neighbour.name for neighbour in folder.iterdir()] if folder.is_dir() else []
    subject = subject_name(path).lower()
    same = [name for name in sorted(names) if subject_name(name).lower() == subject]
    return f"did you mean {same[0]!r}?" if same else "put it there or take the entry out"


def _repeats(entries: list[Entry]) -> Iterator[Fault]:
    places: dict[tuple[int, int], list[tuple[str, Entry]]] = defaultdict(list)
    subjects: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        subjects[entry.subject].append(entry)
        for key, path in (("image", entry.image), ("label", entry.label)):
            if path is not None:
                status = path.stat()  # the same for a link, a hard link or another spelling of the path
                places[(status.st_dev, status.st_ino)].append((key, entry))
    for uses in places.values():
        if len(uses) > 1:
            yield _same_file(uses)
    for subject, same in subjects.items():
        files = {(entry.image.stat().st_dev, entry.image.stat().st_ino) for entry in same}
        if len(files) > 1:
            others = ", ".join(f"{e.image} ({e.split})" for e in same[1:])
            fault = f"the subject name {subject!r} ({same[0].split}) is also that of {others}"
            yield Fault(str(same[0].image), fault, _OWN_NAME)


def _patients_in_two_splits(root: Path, entries: list[Entry]) -> Iterator[Fault]:
    splits: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry.patient, str) and entry.split not in splits[entry.patient]:
            splits[entry.patient].append(entry.split)
    for patient, found in splits.items():
        if len(found) > 1:
            fault = f"images of the patient {patient!r} are in {' and '.join(found)}"
            yield Fault(str(root / DATASET_FILE), fault, "keep all images of a patient in one split")


def _same_file(uses: list[tuple[str, Entry]]) -> Fault:
    key, first = uses[0]
    file = first.image if key == "image" else first.label
    splits = list(dict.fromkeys(entry.split for _, entry in uses))
    kinds = {kind for kind, _ in uses}
    names = list(dict.fromkeys(str(e.image if kind == "image" else e.label) for kind, e in uses))
    spelt = f" (as {' and '.join(names)})" if len(names) > 1 else ""
    if kinds == {"image", "label"}:
        return Fault(str(file), f"is used as an image and as a label{spelt}", "correct the entry")
    if len(splits) > 1:
        fault = f"the same file is in {' and '.join(splits)}{spelt}"
        return Fault(str(file), fault, "keep it in one split: scores on images seen in training mean nothing")
    return Fault(str(file), f"is named {len(uses)} times in {splits[0]}{spelt}", "keep one of the entries")


def refuse_other_classes(
    roots: Sequence[ClientRoot], labels: Mapping[int, str] | Mapping[str, str] | None
) -> None:
    """A label value must mean the same everywhere: what is 1 at one site is 3 at another in public data.

    Args:
        roots: data roots whose labels are used together.
        labels: class names by value, of the training; None: whatever they agree on.
    Raises:
        InputError: a root has other classes.
    """
    wanted = None if labels is None else {int(value): str(name) for value, name in labels.items()}
    if wanted is not None and sorted(wanted) != list(range(len(wanted))):
        raise InputError(f"labels: expected values 0, 1, 2, … without a gap, found {sorted(wanted)}")
    for root in roots:
        if wanted is not None and root.labels != wanted:
            raise InputError(
                f"{root.file}: 'labels' are {root.labels}, the training's are {wanted}; give it the data's with "
                '--labels "{0: background, 1: …}", or correct the file'
            )
        if root.labels != roots[0].labels:
            raise InputError(
                f"{root.file}: 'labels' are {root.labels}, those of {roots[0].file} are {roots[0].labels}; "
                "use the same classes: renumber the label maps if need be"
            )
