"""Lists of a data root's images: making one (``dataset.json``), reading one, and what is worth knowing of a new one."""

from __future__ import annotations

import math
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing

from shared_components.data.client_root import ClientRoot, data_roots, read_entries, refuse_other_classes
from shared_components.data.dataset_json import (
    DATASET_FILE,
    SPLITS,
    dataset_head,
    is_of_nnunet,
    write_dataset,
)
from shared_components.data.domain_splits import patient
from shared_components.data.faults import in_one_line
from shared_components.data.image_files import unread_volumes, volumes_left_out
from shared_components.data.label_maps import (
    ANNOTATED,
    IGNORE,
    like_a_label_map,
    listed_slices,
    mark_unknown,
    relabelling,
    renumbered,
    slices_of,
    value_faults,
    values_in,
)
from shared_components.data.pairing import Pair, find_pairs
from shared_components.data.volume_check import load_volume
from shared_components.data.volume_faults import refuse
from shared_components.data.volumes import long_axis
from shared_components.errors import InputError, counted
from shared_components.steps import steps

_LOOKED_AT = 8  # files that were left out, of different names, that are read
_PLACES = 4  # folders whose volumes are left out that get a line each


def datalist(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike],
    split: str,
    labelled: bool | None = None,
    labels: Mapping[int, str] | None = None,
) -> list[dict[str, str]]:
    """Items of a split of one or several data roots; see :meth:`ClientRoot.items`.

    Args:
        dataset_dir: a data root, or several.
        split: ``training``, ``validation`` or ``test``.
        labelled: ``True`` or ``False`` keeps the items with or without a label; ``None`` keeps all.
        labels: class names by value that items with a label must have; ``None``: labels are not looked at.
    Raises:
        InputError: a ``dataset.json`` is missing or faulty, or its classes are others.
    """
    roots = [ClientRoot.load(root) for root in data_roots(dataset_dir)]
    if labels is not None and labelled is not False:
        refuse_other_classes([root for root in roots if root.items(split, labelled=True)], labels)
    return [item for root in roots for item in root.items(split, labelled)]


def make_datalist(
    root: str | os.PathLike,
    domain: str,
    *,
    labels: Mapping[int, str] | Mapping[str, str] | Sequence[str] | None = None,
    name: str | None = None,
    modality: str = "unknown",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    images: str | None = None,
    label_maps: str | None = None,
    patients: Callable[[list[Pair]], Mapping[str, str]] | None = None,
    ignore: int | None = None,
    sparse: bool = False,
    force: bool = False,
) -> Path:
    """Write ``dataset.json`` for a folder of images and label maps, laid out as ``find_pairs`` knows.

    Subjects with and without a label are split apart, by the same fractions, so that a few labelled subjects
    are spread over all splits; images of one patient stay together. A folder with ``imagesTs/`` brings its own test
    split.

    Args:
        root: the folder.
        domain: name of the federation's domain that the images belong to.
        labels: class names by value, or in order from 0; ``None`` reads the values off the label maps
            and numbers the class names.
        name: name of the data; the folder's when ``None``.
        modality: such as ``"MRI"``.
        validation: fraction of the subjects for validation.
        test: fraction of the subjects for testing.
        seed: seed of the split.
        images: pattern of the images' paths or names, such as ``*_t2.nii.gz``; see ``find_pairs``.
        label_maps: pattern of the label maps'.
        patients: from the images to each subject's patient; ``None``: every image is a patient of its own.
        ignore: value of the label maps' voxels that nobody annotated.
        sparse: the slices of a label map without any label were not annotated.
        force: replace a ``dataset.json`` that is there.
    Returns:
        The file written.
    Raises:
        InputError: a ``dataset.json`` is there or may not be written, fractions of no sense, images and label maps
            that do not match, or a patient in ``imagesTs/`` and beside it.
    """
    root = Path(root)
    _refuse_unwritable(root, force)
    if min(validation, test) < 0 or validation + test >= 1:
        raise InputError(
            "validation and test: expected fractions that leave some subjects for training, "
            f"found {validation} and {test}"
        )
    pairs = find_pairs(root, images, label_maps)
    maps = [pair.label for pair in pairs if pair.label is not None]
    classes = _classes(root, labels, maps, ignore)
    owners = {} if patients is None else dict(patients(pairs))
    known = {path: annotated_slices(path, ignore) for path in maps} if sparse else {}
    content = {
        **dataset_head(name or root.resolve().name, domain, modality, classes),
        **({} if ignore is None else {IGNORE: ignore}),
        **{
            split: [_entry(pair, root, owners, known) for pair in sorted(chosen, key=lambda p: p.subject)]
            for split, chosen in _split(pairs, owners, validation, test, random.Random(seed)).items()
        },
    }
    if faults := read_entries(root, content)[1]:
        raise InputError(in_one_line(faults))  # before anything is written
    return write_dataset(root, content)


def _split(
    pairs: list[Pair], owners: Mapping[str, str], validation: float, test: float, shuffler: random.Random
) -> dict[str, list[Pair]]:
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    splits["test"] = [pair for pair in pairs if pair.held_out]
    if splits["test"]:
        test = 0.0
    patients = _by_patient([pair for pair in pairs if not pair.held_out], owners)
    for pair in splits["test"]:
        if owners.get(pair.subject) in patients:
            raise InputError(
                f"{pair.image}: its patient {owners[pair.subject]!r} has images that are not held out, such as "
                f"{patients[owners[pair.subject]][0].image}; move all of them into one folder"
            )
    for labelled in (True, False):
        group = [
            images
            for images in patients.values()
            if any(pair.label is not None for pair in images) == labelled
        ]
        shuffler.shuffle(group)
        for split, fraction in (("test", test), ("validation", validation)):
            count = min(round(fraction * len(group)), len(group) - 1) if group else 0
            splits[split] += [pair for images in group[:count] for pair in images]
            del group[:count]
        splits["training"] += [pair for images in group for pair in images]
    return splits


def _by_patient(pairs: list[Pair], owners: Mapping[str, str]) -> dict[object, list[Pair]]:
    """The images of each patient, who is the image itself where nobody is named."""
    patients: dict[object, list[Pair]] = defaultdict(list)
    for pair in pairs:
        patients[owners.get(pair.subject, pair)].append(pair)
    return patients


def _entry(
    pair: Pair,
    root: Path,
    owners: Mapping[str, str],
    known: Mapping[Path, list[int] | dict[str, object] | None],
) -> dict[str, object]:
    entry: dict[str, object] = {"image": pair.image.relative_to(root).as_posix()}
    if pair.by_folder:
        entry["subject"] = pair.subject
    if pair.label is not None:
        entry["label"] = pair.label.relative_to(root).as_posix()
    if known.get(pair.label) is not None:
        entry[ANNOTATED] = known[pair.label]
    if pair.subject in owners:
        entry["patient"] = owners[pair.subject]
    return entry


def annotated_slices(path: Path, ignore: int | None = None) -> list[int] | dict[str, object] | None:
    """Slices of a label map that have labels, as an entry states them; ``None`` where all of them have.

    They are counted across the axis of the voxels' long edge, where there is one, else across the third.

    Raises:
        InputError: it cannot be read, or has no label in any slice.
    """
    used, count, axis = _slices(_label_map(path, ignore), ignore)
    if not used:
        raise InputError(f"{path}: no slice has a label, so that nothing of it would be known; take it away")
    if len(used) == count:
        return None
    return used if axis == 2 else {"axis": axis, "slices": used}


def _slices(label: MetaTensor, ignore: int | None) -> tuple[list[int], int, int]:
    """Slices of a label map that have labels, how many it has, and the file's axis across them."""
    marked = mark_unknown(label.as_tensor(), {IGNORE: ignore})
    axis = long_axis(affine_to_spacing(label.affine, 3))
    axis = 2 if axis is None else axis
    return slices_of(marked > 0, axis), marked.shape[marked.ndim - 3 + axis], axis


def _refuse_unwritable(root: Path, force: bool) -> None:
    """Before anything is read: a list that is there stays, unless it may be replaced, and the folder must take one."""
    file = root / DATASET_FILE
    if file.exists() and not force:
        told = "; look at it"
        if is_of_nnunet(root):
            told = ", nnU-Net's; keep a copy of it under another name"
        raise InputError(f"{file}: is there already{told}, and replace it with --force")
    if root.is_dir() and not os.access(root, os.W_OK):
        raise InputError(
            f"{root}: may not be written to, and {DATASET_FILE} lies beside the images; copy the folder to where you "
            "may write, and name the copy"
        )


def _classes(
    root: Path,
    labels: Mapping[int, str] | Mapping[str, str] | Sequence[str] | None,
    label_maps: Sequence[Path],
    ignore: int | None,
) -> dict[str, str]:
    if labels is None:
        values = (
            {0}.union(*(_values(path, ignore) for path in label_maps)) - {ignore} if label_maps else {0, 1}
        )
        if values != set(range(len(values))):
            raise InputError(
                f"the label maps hold the values {', '.join(map(str, sorted(values)))}; expected 0, 1, 2, … without "
                f"a gap: {relabelling(root, values, ignore)} renumbers them in that order; or state all "
                "classes with --labels if some do not occur here"
            )
        return {"0": "background"} | {str(value): f"class_{value}" for value in range(1, len(values))}
    if isinstance(labels, Mapping):
        return {str(value): str(name) for value, name in labels.items()}
    return {str(value): str(name) for value, name in enumerate(labels)}


def _values(path: Path, ignore: int | None) -> set[int]:
    return values_in(torch.unique(_label_map(path, ignore).as_tensor()))


def _label_map(path: Path, ignore: int | None) -> MetaTensor:
    label, faults = load_volume(path)
    if label is None:
        raise InputError(str(faults[0]))
    voxels = label.as_tensor()
    refuse(value_faults(path, voxels, None))
    different = torch.unique(voxels)
    if len(different) > 256 or (different[different != (0 if ignore is None else ignore)] < 0).any():
        found = f"{len(different)} different values from {different.min():g} to {different.max():g}"
        raise InputError(
            f"{path}: expected a label map, whose values count from 0, found {found}; is it an image?"
        )
    return label


def remarks(root: ClientRoot, chosen: bool = False) -> Iterator[str]:
    """What stops nothing of a new ``dataset.json`` and is worth knowing.

    Args:
        root: the data root.
        chosen: whether a pattern said which images are meant, so that others are left out on purpose.
    """
    yield from _follows(root)
    yield from _maps_left_out(root) if chosen else _left_out(root)
    if unread := unread_volumes(root.root):
        yield unread
    yield from _of_label_maps(root)


def _follows(root: ClientRoot) -> Iterator[str]:
    """What follows from a split that few subjects have left empty, or without labels."""
    labelled = {split: len(root.items(split, labelled=True)) for split in SPLITS}
    if labelled["training"] and not labelled["validation"]:
        patients = len({patient(item) for item in root.items("training", labelled=True)})
        cure = (
            f"--validation {math.ceil(100 / patients) / 100:g} --force gives it one"
            if patients > 1
            else "images of one more patient with labels would give it one"
        )
        yield (
            "validation has no labelled subject: a model trained here is that of the last epoch, not the one that was "
            f"best on validation volumes; {cure}"
        )
    if not root.items("test"):
        yield "test is empty: no volume of this client is segmented or scored at the end of a study"
    elif not labelled["test"]:
        yield "test has no labels: a study segments its volumes and shows them, but cannot score them"


def _not_taken(root: ClientRoot) -> list[Path]:
    """Volumes below the root that are in no entry, as paths from it."""
    items = [item for split in SPLITS for item in root.items(split)]
    taken = [Path(item[key]) for item in items for key in ("image", "label") if key in item]
    return [each.relative_to(root.root) for each in volumes_left_out(root.root, taken)]


def _maps_left_out(root: ClientRoot) -> Iterator[str]:
    """Of images that a pattern chose, none of which has a label: what was left out and looks like a label map."""
    if any(root.items(split, labelled=True) for split in SPLITS):
        return
    kinds = {path.name: path for path in reversed(_not_taken(root))}  # the first of each name
    for path in list(kinds.values())[:_LOOKED_AT]:
        volume, _ = load_volume(root.root / path)
        if volume is not None and like_a_label_map(volume.as_tensor()):
            yield (
                f"no image has a label map, and {path.as_posix()}, which is not taken, looks like one; where it is, "
                f"say --label_maps '*{path.name}' --force"
            )
            return


def _left_out(root: ClientRoot) -> Iterator[str]:
    """Volumes below the root that are in no entry, a line for each folder."""
    items = [item for split in SPLITS for item in root.items(split)]
    places: dict[str, list[Path]] = defaultdict(list)
    for path in _not_taken(root):
        places[path.parts[0] if len(path.parts) > 1 else ""].append(path)
    if len(places) > _PLACES:
        places = {"": [path for paths in places.values() for path in paths]}
    homes = {Path(item["image"]).relative_to(root.root).parts[0] for item in items}
    home = f"into {homes.pop()}/" if len(homes) == 1 and len(items) > 1 else "beside those that are taken"
    for place, paths in places.items():
        verb = "is" if len(paths) == 1 else "are"
        maps = f"where they are label maps, say --label_maps '{place}/*' --force; "
        maps = maps if place and not place.lower().startswith("image") else ""
        yield (
            f"{counted(len(paths), 'volume')}{f' in {place}/' if place else ''} {verb} not taken, such as "
            f"{paths[0].as_posix()}; {maps}images belong {home}"
        )


def _of_label_maps(root: ClientRoot) -> Iterator[str]:
    """What the label maps hold: values of no class, nothing at all, or labels in few slices; and faulty ones."""
    items = [item for split in SPLITS for item in root.items(split, labelled=True)]
    sparse, unfit, values = [], [], {}
    for item in steps(items, "reading label maps", "label map", True):
        path = Path(item["label"])
        try:
            label = _label_map(path, root.ignore)
        except InputError as error:
            unfit.append(str(error))
            continue
        values[path] = values_in(torch.unique(label.as_tensor())) - {root.ignore}
        used, count, axis = _slices(label, root.ignore)
        gaps = used and used[-1] - used[0] + 1 > len(used)
        few = (gaps and 2 * len(used) <= count) or (0 < len(used) <= 2 and count >= 5)
        if few and ANNOTATED not in item:
            across = "" if axis == 2 else f" across the file's axis {axis}"
            sparse.append(f"{path}: only {listed_slices(used)} of {count}{across} have labels")
    if unfit:
        yield unfit[0] + (f" (and {len(unfit) - 1} more label maps are faulty)" if len(unfit) > 1 else "")
    yield from _of_values(root, values, whole=not unfit)
    if sparse:
        more = f" (and so in {len(sparse) - 1} more label maps)" if len(sparse) > 1 else ""
        yield (
            f"{sparse[0]}{more}: if the others were not annotated, say so with --sparse --force, or with "
            '"annotated" in the entries; otherwise they are learnt and scored as background'
        )


def _of_values(root: ClientRoot, values: Mapping[Path, set[int]], whole: bool) -> Iterator[str]:
    """Values of no class, or none but 0.

    Args:
        root: the data root.
        values: those of each sound label map, ``ignore`` left out.
        whole: whether all label maps are sound.
    """
    found = {0}.union(*values.values())
    strange = [path for path, held in values.items() if held - root.labels.keys()]
    if strange:
        more = f" (and so do {len(strange) - 1} more label maps)" if len(strange) > 1 else ""
        listed, classes = (", ".join(map(str, sorted(each))) for each in (values[strange[0]], root.labels))
        cure = "state all classes with --labels, and replace this list with --force"
        if renumbered(found, root.labels):
            cure = f"{relabelling(root.root, found, root.ignore)} makes {classes} of them"
        yield f"{strange[0]}: holds the values {listed}, where the classes are {classes}{more}; {cure}"
    training = [Path(item["label"]) for item in root.items("training", labelled=True)]
    trained = [values[path] for path in training if path in values]
    if values and whole and found == {0}:
        yield (
            f"none of the {len(values)} label maps has any foreground: all voxels are 0, and nothing can be learnt or "
            "scored of them; export them again, or state with --label_maps which files are label maps"
        )
    elif trained and whole and {0}.union(*trained) == {0}:
        yield (
            f"none of the label maps of 'training' ({len(trained)}) has any foreground: all voxels are 0, and nothing "
            "can be learnt of them; export them again, or name those that have some in 'training'"
        )
