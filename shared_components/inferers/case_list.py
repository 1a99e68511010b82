"""The list of what an inference run segmented: what its scores and its report need to know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.errors import InputError
from shared_components.inferers.cases import OUTPUT_SUFFIX, Case
from shared_components.records import found_record, read_record, write_record

FILE_NAME = "cases.json"
FAULT = "fault"
"""Key of a case that was not segmented: the text of what is wrong with it."""


def write_case_list(cases: Sequence[Case], labels: Mapping[int, str], output_dir: str | Path) -> Path:
    """Write ``<output_dir>/cases.json``: class names, each case's image, label (if any) and segmentation."""
    content = {
        "labels": {str(value): str(name) for value, name in labels.items()},
        "cases": [case | {"segmentation": f"{case['case']}{OUTPUT_SUFFIX}.nii.gz"} for case in cases],
    }
    return write_record(Path(output_dir) / FILE_NAME, content)


def note_faults(output_dir: str | Path, faults: Mapping[str, str]) -> None:
    """Add to ``<output_dir>/cases.json``, if there is one, why cases were not segmented, for the report to tell.

    Args:
        output_dir: the run's folder.
        faults: name of a case to the text of its fault.
    """
    path = Path(output_dir) / FILE_NAME
    if not path.is_file():
        return
    content = read_record(path, "run the inference again")
    for case in content["cases"]:
        if case["case"] in faults:
            case[FAULT] = faults[case["case"]]
    write_record(path, content)


def noted_faults(output_dir: str | Path) -> dict[str, str]:
    """What :func:`note_faults` wrote; nothing where there is no list that can be read."""
    content = found_record(Path(output_dir) / FILE_NAME) or {}
    return {case["case"]: case[FAULT] for case in content.get("cases", ()) if FAULT in case}


def read_case_list(output_dir: str | os.PathLike) -> tuple[list[Case], dict[int, str]]:
    """Cases, ``segmentation`` as a whole path, and class names of the run that wrote into ``output_dir``.

    A case with ``fault`` was not segmented, and that is why.

    Raises:
        InputError: no such list, or it is damaged.
    """
    path = Path(output_dir) / FILE_NAME
    if not path.is_file():
        raise InputError(f"{path}: expected an inference run's case list, found none; name its folder")
    content = read_record(path, "run the inference again")
    try:
        labels = {int(value): str(name) for value, name in content["labels"].items()}
        cases = [
            case | {"segmentation": str(path.parent / case["segmentation"])} for case in content["cases"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a case list, found {error!r}; run the inference again") from error
    return cases, labels
