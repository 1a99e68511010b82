"""Volumes and ``dataset.json`` of the client data roots that a challenge's files become."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.spatialimages import SpatialImage

from shared_components.data.dataset_json import DATASET_FILE, SPLITS, dataset_head, write_dataset
from shared_components.data.domain_splits import in_drawn_order
from shared_components.data.faults import UNREADABLE, one_line
from shared_components.data.nifti import portable, write_nifti
from shared_components.errors import InputError
from shared_components.files import make_folder, remove_files
from shared_components.workplaces import workplace


class Volume(NamedTuple):
    """A volume to be written: name of its files, whose it is, voxels ``(X, Y, Z)``, and its label map if any."""

    name: str
    patient: str
    image: np.ndarray
    affine: np.ndarray
    label: np.ndarray | None = None


class Description(NamedTuple):
    """What ``dataset.json`` says of a client data root beside its images."""

    name: str
    domain: str
    modality: str
    labels: Mapping[int, str]


def files_below(source: Path) -> list[Path]:
    """All that lies below a folder, in order, without hidden files and the companions that macOS adds to archives."""
    return [
        file
        for file in sorted(source.rglob("*"))
        if not any(part.startswith(".") or part == "__MACOSX" for part in file.relative_to(source).parts)
    ]


def open_image(path: Path) -> SpatialImage:
    """A NIfTI's header; voxels are read when they are asked for.

    Raises:
        InputError: not a readable NIfTI file.
    """
    try:
        return nibabel.load(path)
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected a NIfTI file, found none ({one_line(error)}); copy it again"
        ) from error


def voxels(image: SpatialImage, frame: int | None = None) -> np.ndarray:
    """Voxels ``(X, Y, Z)`` of a 3-D image, or of one frame of a 4-D one, in their stored type.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return np.asarray(image.dataobj if frame is None else image.dataobj[..., frame])
    except UNREADABLE as error:
        path = image.get_filename()
        raise InputError(f"{path}: its voxels cannot be read ({one_line(error)}); copy it again") from error


def match_grids(label: SpatialImage, image: SpatialImage) -> None:
    """Check that a label map belongs to an image voxel by voxel.

    Small differences of the affines are let pass: the label map is stored with its image's affine.

    Raises:
        InputError: different shapes, or axes of different directions.
    """
    axes = ["".join(nibabel.aff2axcodes(one.affine)) for one in (label, image)]
    if label.shape != image.shape or axes[0] != axes[1]:
        raise InputError(
            f"{label.get_filename()}: expected the grid of its image, {image.shape} voxels along {axes[1]}, found "
            f"{label.shape} along {axes[0]}; copy both files again, or take the subject out"
        )


def label_map(array: np.ndarray, labels: Mapping[int, str], path: str | Path) -> np.ndarray:
    """``array`` as uint8.

    Raises:
        InputError: a value that is none of ``labels``.
    """
    strange = sorted(set(np.unique(array).tolist()) - set(labels))
    if strange:
        raise InputError(
            f"{path}: expected the label values {', '.join(map(str, labels))}, found {strange[0]:g}; "
            "is it the challenge's own label map?"
        )
    return array.astype(np.uint8)


def write_volume(root: Path, volume: Volume) -> dict[str, str]:
    """Write a volume into ``images/`` and ``labels/``; its entry of ``dataset.json``."""
    file = f"{volume.name}.nii.gz"
    write_nifti(root / "images" / file, portable(volume.image), volume.affine)
    entry = {"image": f"images/{file}"}
    if volume.label is not None:
        write_nifti(root / "labels" / file, volume.label, volume.affine)
        entry["label"] = f"labels/{file}"
    return entry | {"patient": volume.patient}


def write_description(
    root: Path, described: Description, entries: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Path:
    """Write ``dataset.json``, the last file of a data root; ``entries`` by split."""
    items = {split: sorted(entries.get(split, []), key=lambda entry: entry["image"]) for split in SPLITS}
    return write_dataset(root, dataset_head(*described) | items)


@contextmanager
def whole_roots(out: Path, domains: Collection[str]) -> Iterator[Path]:
    """A folder in which ``<domain>/`` is made for all domains, to come into ``out`` once all are whole, else nothing.

    In a data root that is replaced, ``dataset.json`` goes first and comes last; files of other names stay.
    """
    with workplace(make_folder(out)) as folder:
        yield folder
        for domain in domains:
            remove_files(out / domain / DATASET_FILE)
        for domain in domains:
            for file in sorted((folder / domain).glob("*/*")):
                file.replace(make_folder(out / domain / file.parent.name) / file.name)
            (folder / domain / DATASET_FILE).replace(out / domain / DATASET_FILE)


def refuse_existing(out: Path, domains: Sequence[str], force: bool) -> None:
    """Stop before anything is overwritten.

    Raises:
        InputError: a data root is there already and ``force`` is not given.
    """
    there = [out / domain / DATASET_FILE for domain in domains if (out / domain / DATASET_FILE).exists()]
    if there and not force:
        raise InputError(f"{there[0]}: is there already; name another folder, or replace it with --force")


def drawn_splits(patients: Sequence[str], validation: float, test: float, key: str) -> dict[str, str]:
    """A split for every patient: fractions for validation and test, the rest (one at least) for training.

    Args:
        patients: names; their order does not matter.
        validation, test: fractions.
        key: seed of the draw, as text.
    Raises:
        InputError: fractions that leave none for training.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise InputError(
            "validation and test: expected fractions that leave some subjects for training, "
            f"found {validation} and {test}"
        )
    rest = in_drawn_order(patients, key)
    splits: dict[str, str] = {}
    for split, fraction in (("test", test), ("validation", validation)):
        count = min(round(fraction * len(patients)), len(rest) - 1) if rest else 0
        splits |= dict.fromkeys(rest[:count], split)
        rest = rest[count:]
    return splits | dict.fromkeys(rest, "training")
