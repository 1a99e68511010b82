"""Which segmentations a folder holds, whoever wrote them, and a line for each: files, grid, volumes and scores."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared_components.data.client_root import ClientRoot
from shared_components.data.dataset_json import DATASET_FILE, SPLITS
from shared_components.data.names import VOLUME_SUFFIXES, subject_name
from shared_components.errors import InputError
from shared_components.inferers import find_cases, read_case_list
from shared_components.inferers.cases import CASE_LIST, OUTPUT_SUFFIX, Case, case_of
from shared_components.metrics.score_files import Row
from shared_components.report.case_volumes import Measures, label_values
from shared_components.report.pages import Link, file_link

FILES = {"image": "image", "segmentation": "result", "label": "label"}  # key of a case -> text of its link


class ClassCell(NamedTuple):
    """Volume of a class, ml, least to most of a time series; that of the label, and Dice, or empty.

    Attributes:
        missed: whether nothing was found of what the label has.
    """

    millilitres: str
    reference: str
    dice: str
    missed: bool


class Spread(NamedTuple):
    """Mean over cases, its standard deviation, and Dice below a volume, or empty."""

    mean: str
    around: str
    dice: str = ""


class CaseLine(NamedTuple):
    """A case.

    Attributes:
        name: as files are called.
        anchor: of its pictures; empty where none are shown.
        files: links.
        grid: voxels.
        size: edges of a voxel, mm.
        volumes: of each class.
        means: Dice and distance over its classes, where anything is scored.
    """

    name: str
    anchor: str
    files: list[Link]
    grid: str
    size: str
    volumes: list[ClassCell]
    means: list[str]


class CaseTable(NamedTuple):
    """Lines, and of several mean ± standard deviation over cases, of each column with numbers."""

    lines: list[CaseLine]
    summary: list[Spread]


def case_table(
    cases: Sequence[Case],
    measures: Mapping[str, Measures],
    scores: Sequence[Row],
    labels: Mapping[int, str],
    page: Path,
    anchors: Mapping[str, str],
) -> CaseTable:
    """The table; a case that could not be measured is left out.

    Args:
        cases: as ``segmented_cases`` lists them.
        measures: case name to what its segmentation measures.
        scores: rows of ``scores.csv``; none where nothing is scored.
        labels: label value to class name, without the background.
        page: the HTML file, from which links lead to the files.
        anchors: case name to the anchor of its pictures, of those that are shown.
    """
    names, lines = list(labels.values()), []
    shown = [case for case in cases if case["case"] in measures]
    rows = rows_by_case((case["case"] for case in cases), scores)
    for case in shown:
        own, scored = measures[case["case"]], rows[case["case"]]
        means = [_shown(_means(scored, "dice"), "{:.3f}"), _shown(_means(scored, "hd95_mm"), "{:.1f}")]
        lines.append(
            CaseLine(
                name=case["case"],
                anchor=anchors.get(case["case"], ""),
                files=[file_link(case[key], page, text) for key, text in FILES.items() if case.get(key)],
                grid="×".join(map(str, own.shape)),
                size="×".join(f"{edge:.3g}" for edge in own.size),
                volumes=[_volume(own.millilitres[:, n], name, scored) for n, name in enumerate(names)],
                means=means if scores else [],
            )
        )
    measured = [measures[case["case"]] for case in shown]
    return CaseTable(lines, _summary(measured, scores, names) if len(shown) > 1 else [])


def rows_by_case(cases: Iterable[str], scores: Sequence[Row]) -> dict[str, list[Row]]:
    """Scores of each case, none or many; of a time series those of its frames, ``<case>_t00``, …."""
    rows: dict[str, list[Row]] = {case: [] for case in cases}
    for row in scores:
        if (case := case_of(str(row["case"]), rows)) is not None:
            rows[case].append(row)
    return rows


def _volume(frames: np.ndarray, name: str, scored: Sequence[Row]) -> ClassCell:
    low, high = float(frames.min()), float(frames.max())
    own = [row for row in scored if row["name"] == name]
    return ClassCell(
        f"{high:.1f}" if len(frames) == 1 else f"{low:.1f}–{high:.1f}",
        f"{float(own[0]['reference_ml']):.1f}" if len(own) == 1 else "",
        f"{np.mean([float(row['dice']) for row in own]):.3f}" if own else "",
        high == 0 and any(float(row["reference_ml"]) for row in own),
    )


def _means(scores: Sequence[Row], column: str) -> list[float]:
    """Of each scored case (or frame) the mean over its classes; ``nan`` where one has no value."""
    by_case: dict[str, list[float]] = {}
    for row in scores:
        by_case.setdefault(str(row["case"]), []).append(float(row[column]))
    return [float(np.mean(values)) for values in by_case.values()]


def _shown(values: Sequence[float], form: str) -> str:
    known = [value for value in values if math.isfinite(value)]
    return form.format(np.mean(known)) if known else "–"


def _summary(measures: Sequence[Measures], scores: Sequence[Row], names: Sequence[str]) -> list[Spread]:
    """Mean ± standard deviation over cases (of a time series, of its greatest volume)."""
    volumes = np.stack([own.millilitres.max(axis=0) for own in measures])  # (cases, classes)
    spreads = []
    for name, column in zip(names, volumes.T, strict=True):
        dice = [float(row["dice"]) for row in scores if row["name"] == name]
        spreads.append(_spread(column, "{:.1f}", _shown(dice, "{:.3f}") if dice else ""))
    if scores:
        spreads += [_spread(_means(scores, "dice"), "{:.3f}"), _spread(_means(scores, "hd95_mm"), "{:.1f}")]
    return spreads


def _spread(values: Sequence[float], form: str, dice: str = "") -> Spread:
    known = [value for value in values if math.isfinite(value)]
    around = f" ± {form.format(np.std(known, ddof=1))}" if len(known) > 1 else ""
    return Spread(_shown(values, form), around, dice)


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
    if (Path(folder) / CASE_LIST).is_file():
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
    """Values in all segmentations that can be read, named by their numbers."""
    values: set[int] = set()
    for case in cases:
        with contextlib.suppress(InputError):  # the report says of each case what is wrong with it
            values |= label_values(case["segmentation"])
    return {value: f"label {value}" for value in sorted(values - {0})}
