"""Label maps made of probability maps, and of label maps with other values than 0, 1, 2, …"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd

from shared_components.data.client_root import ClientRoot
from shared_components.data.dataset_json import DATASET_FILE, SPLITS, is_ignore_value, is_of_nnunet
from shared_components.data.label_maps import value_faults, values_in, whole
from shared_components.data.names import subject_name
from shared_components.data.nifti import open_nifti, write_nifti
from shared_components.data.pairing import label_maps_in
from shared_components.data.volume_check import load_volume
from shared_components.data.volume_faults import refuse
from shared_components.errors import InputError, shown
from shared_components.files import write_atomically

_KEEPING = (".nii", ".nii.gz")  # files that are written with the header that they had


def threshold_maps(
    maps: Sequence[str | os.PathLike], folder: str | os.PathLike, at: float = 0.5
) -> list[Path]:
    """Write ``<folder>/<name>.nii.gz`` of each map, on its grid: 1 where it is at least ``at``, else 0; nothing before
    all have been read.

    Raises:
        InputError: no map, one that cannot be read, holds NaN or values beyond 0 to 1, two of one name, ``at`` is no
            probability, or a file is there already.
    """
    if not 0 < at <= 1:
        raise InputError(f"--at: expected a probability above 0, up to 1, found {at:g}")
    paths = list({os.path.realpath(path): Path(path) for path in reversed(maps)}.values())[::-1]  # each once
    if not paths:
        raise InputError("threshold: name at least one probability map")
    files = _places_in(Path(folder), paths)
    for path in paths:
        _thresholded(path, at)
    return [write_nifti(file, *_thresholded(path, at)) for path, file in zip(paths, files, strict=True)]


def _places_in(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Where each goes: under its own name."""
    files: dict[Path, Path] = {}
    for path in paths:
        file = folder / f"{subject_name(path)}.nii.gz"
        if file in files:
            raise InputError(
                f"{path}: has the name of {files[file]}, so that both would be {file}; threshold them one after the "
                "other, each into a folder of its own"
            )
        _refuse_old(file)
        files[file] = path
    return list(files)


def _thresholded(path: Path, at: float) -> tuple[np.ndarray, np.ndarray]:
    """The label map ``(X, Y, Z)`` of a probability map, and its affine."""
    volume = _loaded(path)
    voxels = volume.numpy()[0]
    if not (np.isfinite(voxels).all() and voxels.min() >= 0 and voxels.max() <= 1 + 1e-6):
        raise InputError(
            f"{path}: expected probabilities from 0 to 1, found {voxels.min():g} to {voxels.max():g}; divide by the "
            "largest value first"
        )
    return (voxels >= at).astype(np.uint8), to_affine_nd(3, volume.affine.numpy())


def _loaded(path: Path) -> MetaTensor:
    volume, faults = load_volume(path)
    if volume is None:
        raise InputError(str(faults[0]))
    return volume


def _refuse_old(file: Path) -> None:
    if file.exists():
        raise InputError(f"{file}: is there already; remove it or name another folder with --output_dir")


@dataclass(frozen=True)
class Relabelling:
    """Other values for label maps: the first of ``values`` becomes 0, the second 1, and so on.

    Attributes:
        values: all values that the label maps may hold, in the order of the classes.
        ignore: a value that stays as it is: of voxels that nobody annotated.
    Raises:
        InputError: fewer than two values, one twice, more than a label map of bytes can hold, or an ``ignore`` that is
            one of them, that a class would get, or that ``dataset.json`` could not name.
    """

    values: Sequence[int]
    ignore: int | None = None

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in self.values)
        if not numbers or len(set(self.values)) < len(self.values) or not 2 <= len(self.values) <= 255:
            raise InputError(
                f"--values: expected the label maps' values in the order of the classes, as 0,4,7, found "
                f"{shown(self.values)}; name each once"
            )
        if self.ignore is not None and not is_ignore_value(self.ignore):
            raise InputError(
                f"--ignore: expected a whole number of up to four digits, found {shown(self.ignore)}; name it last in "
                "--values instead, and the number that it becomes as 'ignore' in dataset.json"
            )
        if self.ignore is not None and self.ignore in {*self.values, *range(len(self.values))}:
            raise InputError(f"--ignore: expected a value of no class, found {self.ignore}; name another one")

    def of(self, path: Path) -> np.ndarray:
        """The label map ``path`` with its new values, ``(X, Y, Z)``, integers.

        Raises:
            InputError: it cannot be read, or holds a value that is not named.
        """
        voxels = _loaded(path).as_tensor()[0]
        refuse(value_faults(path, voxels, None))
        new = self._table
        if strange := sorted(values_in(voxels) - new.keys()):
            raise InputError(
                f"{path}: expected no values but {', '.join(map(str, new))}, found {', '.join(map(str, strange[:5]))}; "
                "name all that its classes have with --values, or leave it out if it has its new values already"
            )
        labels = whole(voxels).numpy().astype(np.int32)
        made = np.zeros(
            labels.shape, np.int16 if min(new.values()) < 0 or max(new.values()) > 255 else np.uint8
        )
        for old, value in new.items():
            made[labels == old] = value
        return made

    @property
    def _table(self) -> Mapping[int, int]:
        kept = {} if self.ignore is None else {self.ignore: self.ignore}
        return {value: number for number, value in enumerate(self.values)} | kept


def relabel_maps(
    maps: Sequence[str | os.PathLike], new: Relabelling, folder: str | os.PathLike | None = None
) -> list[Path]:
    """Write label maps with other values, on their grids and with their headers; nothing before all have been read.

    Args:
        maps: label maps, or folders of them: data roots, layouts that ``make-datalist`` knows, or label maps alone.
        new: the values.
        folder: where to write, each under its path below what the maps lie in; ``None`` replaces them.
    Returns:
        The files written.
    Raises:
        InputError: no label maps, one that cannot be read or holds other values, or a file that is there already or
            cannot be written in its format.
    """
    named = [path for each in maps for path in _label_maps(Path(each))]
    paths = list({os.path.realpath(path): path for path in reversed(named)}.values())[::-1]  # each once
    if not paths:
        raise InputError("relabel: name at least one label map, or a folder of them")
    files = _places(paths, None if folder is None else Path(folder))
    for path in paths:
        new.of(path)
    return [_write(path, new.of(path), file) for path, file in zip(paths, files, strict=True)]


def _label_maps(place: Path) -> list[Path]:
    """The label maps of a folder: of its ``dataset.json``, of its layout, or all that is in it."""
    if not place.is_dir():
        return [place]
    if not (place / DATASET_FILE).exists() or is_of_nnunet(place):
        return label_maps_in(place)
    entries = [entry for split in SPLITS for entry in ClientRoot.load(place).splits[split]]
    return sorted(place / entry["label"] for entry in entries if "label" in entry)


def _places(paths: Sequence[Path], folder: Path | None) -> list[Path]:
    """Where to write each label map."""
    if folder is None:
        for path in paths:
            if not path.name.lower().endswith(_KEEPING):
                raise InputError(f"{path}: only NIfTI files are replaced; name a folder with --output_dir")
        return list(paths)
    shared = os.path.commonpath([os.path.abspath(path.parent) for path in paths])
    files = [folder / Path(os.path.relpath(path.parent, shared)) / _new_name(path) for path in paths]
    if len(set(files)) < len(files):
        raise InputError(
            "relabel: two label maps have one name but for its ending; name them one after the other"
        )
    for file in files:
        _refuse_old(file)
    return files


def _new_name(path: Path) -> str:
    """That of the old label map, in whose place it can be put, where its format is kept."""
    return path.name if path.name.lower().endswith(_KEEPING) else f"{subject_name(path)}.nii.gz"


def _write(path: Path, labels: np.ndarray, file: Path) -> Path:
    """Write what becomes of the label map ``path``, ``(X, Y, Z)``."""
    if not path.name.lower().endswith(_KEEPING):
        return write_nifti(file, labels, to_affine_nd(3, _loaded(path).affine.numpy()))
    image = open_nifti(path)
    header = image.header.copy()
    header.set_data_dtype(labels.dtype)
    header["cal_min"] = header["cal_max"] = 0  # of the old values
    made = type(image)(labels.reshape(image.shape), image.affine, header)
    return write_atomically(file, lambda temporary: nibabel.save(made, temporary))
