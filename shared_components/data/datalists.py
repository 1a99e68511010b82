"""Lists of a data root's images: making one (``dataset.json``) and reading one."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from shared_components.data.client_root import ClientRoot
from shared_components.data.description import DATASET_FILE, SPLITS
from shared_components.data.label_values import value_faults, values_in
from shared_components.data.pairing import Pair, find_pairs
from shared_components.data.volume_check import load_volume
from shared_components.data.volume_faults import refuse
from shared_components.errors import InputError
from shared_components.files import write_text


def datalist(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike], split: str, labelled: bool | None = None
) -> list[dict[str, str]]:
    """Items of a split of one or several data roots; see :meth:`ClientRoot.items`.

    Args:
        dataset_dir: a data root, or several.
        split: ``training``, ``validation`` or ``test``.
        labelled: ``True`` or ``False`` keeps the items with or without a label; ``None`` keeps all.
    Raises:
        InputError: a ``dataset.json`` is missing or faulty.
    """
    roots = [dataset_dir] if isinstance(dataset_dir, (str, os.PathLike)) else dataset_dir
    return [item for root in roots for item in ClientRoot.load(root).items(split, labelled)]


def make_datalist(
    root: str | os.PathLike,
    domain: str,
    *,
    labels: Mapping[int | str, str] | Sequence[str] | None = None,
    name: str | None = None,
    modality: str = "unknown",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Write ``dataset.json`` for a folder of images and label maps, laid out as ``find_pairs`` knows.

    Subjects with and without a label are split apart, by the same fractions, so that a few labelled subjects
    are spread over all splits. A folder with ``imagesTs/`` brings its own test split.

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
        force: replace a ``dataset.json`` that is there.
    Returns:
        The file written.
    Raises:
        InputError: a ``dataset.json`` is there, fractions of no sense, or images and label maps do not match.
    """
    root = Path(root)
    file = root / DATASET_FILE
    if file.exists() and not force:
        raise InputError(f"{file}: is there already; look at it, and replace it with --force")
    if min(validation, test) < 0 or validation + test >= 1:
        raise InputError(
            "validation and test: expected fractions that leave some subjects for training, "
            f"found {validation} and {test}"
        )
    pairs = find_pairs(root)
    classes = _classes(labels, [pair.label for pair in pairs if pair.label is not None])
    content = {
        "name": name or root.resolve().name,
        "domain": domain,
        "modality": {"0": modality},
        "labels": classes,
        **_split(pairs, root, validation, test, random.Random(seed)),
    }
    return write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _split(
    pairs: list[Pair], root: Path, validation: float, test: float, shuffler: random.Random
) -> dict[str, list[dict[str, str]]]:
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    splits["test"] = [pair for pair in pairs if pair.held_out]
    if splits["test"]:
        test = 0.0
    for labelled in (True, False):
        group = [pair for pair in pairs if not pair.held_out and (pair.label is not None) == labelled]
        shuffler.shuffle(group)
        for split, fraction in (("test", test), ("validation", validation)):
            count = min(round(fraction * len(group)), len(group) - 1) if group else 0
            splits[split] += group[:count]
            del group[:count]
        splits["training"] += group
    return {
        split: [_entry(pair, root) for pair in sorted(chosen, key=lambda p: p.subject)]
        for split, chosen in splits.items()
    }


def _entry(pair: Pair, root: Path) -> dict[str, str]:
    entry = {"image": pair.image.relative_to(root).as_posix()}
    return entry | ({} if pair.label is None else {"label": pair.label.relative_to(root).as_posix()})


def _classes(
    labels: Mapping[int | str, str] | Sequence[str] | None, label_maps: Sequence[Path]
) -> dict[str, str]:
    if labels is None:
        values = {0}.union(*(_values(path) for path in label_maps)) if label_maps else {0, 1}
        if values != set(range(len(values))):
            raise InputError(
                f"the label maps hold the values {', '.join(map(str, sorted(values)))}; expected 0, 1, 2, … without "
                "a gap: renumber them, or state all classes with --labels if some do not occur here"
            )
        return {"0": "background"} | {str(value): f"class_{value}" for value in range(1, len(values))}
    if isinstance(labels, Mapping):
        return {str(value): str(name) for value, name in labels.items()}
    return {str(value): str(name) for value, name in enumerate(labels)}


def _values(path: Path) -> set[int]:
    label, problems = load_volume(path)
    if label is None:
        raise InputError(str(problems[0]))
    different = torch.unique(label.as_tensor())
    if len(different) > 256 or different.min() < 0:
        raise InputError(
            f"{path}: expected a label map, found {len(different)} different values; is it an image?"
        )
    refuse(value_faults(path, label.as_tensor(), None))
    return values_in(different)
