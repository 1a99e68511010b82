"""Which segmentations a folder holds, whoever wrote them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shared_components.data.client_root import ClientRoot
from shared_components.data.dataset_json import DATASET_FILE, SPLITS
from shared_components.data.names import VOLUME_SUFFIXES, subject_name
from shared_components.errors import InputError
from shared_components.inferers import find_cases, read_case_list
from shared_components.inferers.case_dataset import FILE_NAME
from shared_components.inferers.cases import OUTPUT_SUFFIX, Case
from shared_components.report.case_volumes import read_volume

LOOKED_AT = 5  # segmentations that are searched for label values


def segmented_cases(
    folder: str | Path,
    images: str | Path | None = None,
    references: str | Path | None = None,
    names: Mapping[int, str] | None = None,
) -> tuple[list[Case], dict[int, str]]:
    """Cases of a folder and the names of their classes, without the background.

    Args:
        folder: an inference run's output (with cases.json), or any folder of label volumes; where some are named
            ``<case>_seg``, these alone are segmentations.
        images: where a folder without cases.json has its images: a folder, a pattern or a client data root, in
            which a volume belongs to the case of its name. Without it, images beside the segmentations are used.
        references: where the experts' labels are, likewise.
        names: label value to class name; by default those of cases.json, or "label 1", ….
    Raises:
        InputError: no segmentation, or what is named for images has none of their names.
    """
    if (Path(folder) / FILE_NAME).is_file():
        cases, labels = read_case_list(folder)
    else:
        cases, labels = loose_cases(Path(folder)), {}
    for key, source in (("image", images), ("label", references)):
        if source is not None:
            cases = _joined(cases, key, source)
    labels = dict(names or labels or _label_values(cases))
    return cases, {value: name for value, name in labels.items() if value != 0}


def volume_files(folder: str | Path) -> list[Path]:
    """Files in a folder that could be segmentations."""
    return [
        p for p in sorted(Path(folder).glob("*")) if p.name.lower().endswith(VOLUME_SUFFIXES) and p.is_file()
    ]


def loose_cases(folder: Path) -> list[Case]:
    """``{"case", "segmentation"}`` of the label volumes in a folder, and ``"image"`` where ``<case>.*`` lies beside.

    Raises:
        InputError: there is none.
    """
    files = volume_files(folder)
    marked = [path for path in files if subject_name(path).endswith(OUTPUT_SUFFIX)]
    if not files:
        raise InputError(
            f"{folder}: expected segmentations ({', '.join(VOLUME_SUFFIXES)}), found none; name "
            "the folder that holds them"
        )
    beside = {subject_name(path): str(path) for path in files if path not in marked} if marked else {}
    cases = []
    for path in marked or files:
        name = subject_name(path).removesuffix(OUTPUT_SUFFIX)
        image = {"image": beside[name]} if name in beside else {}
        cases.append({"case": name, "segmentation": str(path)} | image)
    return cases


def _joined(cases: list[Case], key: str, source: str | Path) -> list[Case]:
    """Cases with the file that ``source`` has for each of them under ``key``."""
    found = {case["case"].removesuffix(OUTPUT_SUFFIX): case for case in _volumes_of(source)}
    if not any(case["case"] in found for case in cases):
        raise InputError(
            f"{source}: expected volumes named like the segmentations ({cases[0]['case']}, …), found "
            f"{', '.join(sorted(found)[:3])}, …; rename them or name another folder"
        )
    files = {name: case.get(key, case["image"]) for name, case in found.items()}
    return [case | ({key: files[case["case"]]} if case["case"] in files else {}) for case in cases]


def _volumes_of(source: str | Path) -> list[Case]:
    if not (Path(source) / DATASET_FILE).is_file():
        return find_cases(source)
    root = ClientRoot.load(source)
    return [item | {"case": item["subject"]} for split in SPLITS for item in root.items(split)]


def _label_values(cases: list[Case]) -> dict[int, str]:
    """Values in the first few segmentations that can be read, named by their numbers."""
    values: set[int] = set()
    for case in cases[:LOOKED_AT]:
        with contextlib.suppress(InputError):  # the report says of each case what is wrong with it
            values |= {int(value) for value in np.unique(read_volume(case["segmentation"])[0].round())}
    return {value: f"label {value}" for value in sorted(values - {0})}
