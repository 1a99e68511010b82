"""What an inference run would replace in its output folder: results of earlier runs alone, never a user's own files."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.inferers.cases import CASE_LIST, OUTPUT_SUFFIX, PROBABILITY_SUFFIX, Case, case_of
from shared_components.records import read_record

FAULT = "fault"
"""Key of a case that was not segmented: the text of what is wrong with it."""
OTHERS = "others"
"""Key of a case list: further cases whose outputs earlier runs have left in the folder."""
SCORES = "scores.csv"
"""In an inference run's output folder: what an evaluation found."""
OF_ALL_SCORES = ("scores.json", "scores_*.png", "comparison.md", "comparison.json")
"""Beside it: what was made of all its rows."""
_SUFFIX = ".nii.gz"
_NAMED = 3  # files in a message


def refuse_replacing(cases: Sequence[Case], output_dir: str | Path) -> None:
    """Refuse an output folder in which a run would replace what no earlier run has written; changes nothing.

    Args:
        cases: those of the run.
        output_dir: where their outputs will be.
    Raises:
        InputError: as of :func:`refuse_inputs`, or an output of a case is there that no ``cases.json`` of the folder
            lists, or that file is no list of ours.
    """
    refuse_inputs(cases, output_dir)
    folder = Path(output_dir)
    _refuse_strange_list(folder / CASE_LIST)
    own = _own_outputs(folder)
    if others := [path for path in outputs_in(folder, {case["case"] for case in cases}) if path not in own]:
        raise InputError(
            f"{_named(others)}: would be replaced, though {folder / CASE_LIST} does not list it as an earlier run's; "
            "give another --output_dir, or move the file away"
        )


def _refuse_strange_list(path: Path) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or a damaged one
        return
    if not (isinstance(content, dict) and {"labels", "cases"} <= content.keys()):
        raise InputError(
            f"{path}: would be replaced by this run's own list, and is no such list; give another --output_dir"
        )


def refuse_inputs(cases: Sequence[Mapping[str, Any]], output_dir: str | Path) -> None:
    """Refuse an output folder in which a run would replace an image or a label that it reads.

    Args:
        cases: items with ``case`` and ``image``, some with ``label``.
        output_dir: where their outputs will be.
    Raises:
        InputError: it would.
    """
    folder = Path(output_dir)
    read = {os.path.realpath(case[key]) for case in cases for key in ("image", "label") if key in case}
    tables = (path for name in (CASE_LIST, SCORES, *OF_ALL_SCORES) for path in folder.glob(name))
    written = [*outputs_in(folder, {case["case"] for case in cases}), *tables]
    if taken := [path for path in written if os.path.realpath(path) in read]:
        raise InputError(
            f"{_named(taken)}: is read as an image or a label, and this run's own results would replace it; "
            "give another --output_dir"
        )


def outputs_in(folder: Path, cases: Collection[str]) -> dict[Path, str]:
    """The files in a run's folder that are called as outputs of cases, or of their frames, are; and whose each is."""
    own = {str(folder / case): case for case in cases}
    found = {}
    for place in sorted({(folder / case).parent for case in cases}):
        for file in sorted(place.glob(f"*{_SUFFIX}")):
            if stem := _stem(str(file).removesuffix(_SUFFIX), own):
                found[file] = own[stem]
    return found


def _stem(name: str, own: Collection[str]) -> str | None:
    """Which of the names without a suffix is that of an output, if any."""
    segmented, probable = name.removesuffix(OUTPUT_SUFFIX), name.removesuffix(PROBABILITY_SUFFIX)
    if segmented != name:
        return segmented if segmented in own else None
    return case_of(probable, own) if probable != name else None


def earlier_outputs(folder: Path) -> dict[str, bool]:
    """Names of the cases that earlier runs have segmented in a folder, or would have, and whether they failed."""
    try:
        content = read_record(folder / CASE_LIST, "")
    except InputError:
        return {}
    listed = {
        str(case["case"]): FAULT in case for case in _of_kind(content.get("cases"), dict) if "case" in case
    }
    return dict.fromkeys(_of_kind(content.get(OTHERS), str), False) | listed


def _of_kind(values: Any, kind: type) -> list:
    """The entries of such a kind of what should be a list: another program's file may have the name of ours."""
    return [value for value in values if isinstance(value, kind)] if isinstance(values, list) else []


def _own_outputs(folder: Path) -> set[Path]:
    """What earlier runs have written, by their list; of a case that failed no segmentation is theirs."""
    earlier = earlier_outputs(folder)
    none = {folder / f"{case}{OUTPUT_SUFFIX}{_SUFFIX}" for case, failed in earlier.items() if failed}
    return {*outputs_in(folder, earlier)} - none


def _named(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(map(str, paths[:_NAMED])) + more
