"""A copy of a client data root of which a few slices alone have labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from shared_components.data.annotations import ANNOTATED
from shared_components.data.description import DATASET_FILE, write_dataset
from shared_components.files import copy_file


def write_few(root: Path, out: Path, few: int) -> Path:
    """Copy a data root all of whose volumes have labels; kept where it is there already.

    Args:
        root: the data root.
        out: of the copy, which has training volumes alone: of the first ones, the middle slice of what is marked has
            a label; nothing else has.
        few: how many; of a single volume its slice all the same, its others stay without.
    """
    if (out / DATASET_FILE).is_file():
        return out
    content = json.loads((root / DATASET_FILE).read_text(encoding="utf-8"))
    few = max(1, min(few, len(content["training"]) - 1))  # some volumes stay without, where there are several
    training = [
        _copied(
            root, out, {**item, ANNOTATED: [_middle(root / item["label"])]} if number < few else _bare(item)
        )
        for number, item in enumerate(content["training"])
    ]
    entries = {"name": out.name, "training": training, "validation": [], "test": []}
    write_dataset(out, {**content, **entries})
    return out


def _bare(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "label"}


def _middle(label: Path) -> int:
    """Of the slices, along the file's third axis, in which anything is marked."""
    marked = np.flatnonzero(np.asarray(nibabel.load(label).dataobj).any(axis=(0, 1)))
    return int(marked[len(marked) // 2]) if len(marked) else 0


def _copied(root: Path, out: Path, item: Mapping[str, Any]) -> dict[str, Any]:
    for file in (item[key] for key in ("image", "label") if key in item):
        copy_file(root / file, out / file)
    return dict(item)
