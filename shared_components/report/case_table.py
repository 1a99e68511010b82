"""A line for each segmented case: where its files are, its grid, volumes and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared_components.inferers.cases import Case
from shared_components.metrics.score_files import Row
from shared_components.report.case_volumes import Measures
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
    for case in shown:
        own, scored = measures[case["case"]], rows_of(case["case"], scores)
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


def rows_of(case: str, scores: Sequence[Row]) -> list[Row]:
    """Scores of a case; of a time series those of its frames, ``<case>_t00``, …."""
    frame = re.compile(re.escape(case) + r"(_t\d+)?")
    return [row for row in scores if frame.fullmatch(str(row["case"]))]


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
