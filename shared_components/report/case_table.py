"""A line for each segmented case: where its files are, its grid, volumes and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared_components.inferers.cases import Case
from shared_components.metrics.score_tables import Row
from shared_components.report.class_volumes import Measures
from shared_components.report.html import Html, element, join, table
from shared_components.report.links import file_link

FILES = {"image": "image", "segmentation": "result", "label": "label"}  # key of a case -> text of its link
BREAK = Html("<br>")


def case_table(
    cases: Sequence[Case],
    measures: Mapping[str, Measures],
    scores: Sequence[Row],
    labels: Mapping[int, str],
    page: Path,
    anchors: Mapping[str, str],
) -> Html:
    """The table; a case that could not be measured is left out.

    Args:
        cases: as ``segmented_cases`` lists them.
        measures: case name to what its segmentation measures.
        scores: rows of ``scores.csv``; none where nothing is scored.
        labels: label value to class name, without the background.
        page: the HTML file, from which links lead to the files.
        anchors: case name to the anchor of its pictures, of those that are shown.
    """
    names = list(labels.values())
    groups: list[tuple[object, int]] = [("", 3), ("Volume, ml", len(names))]
    head = ["Case", "Files", "Grid", *names]
    if scores:
        groups.append(("Mean over classes", 2))
        head += ["Dice", "HD95, mm"]
    shown = [case for case in cases if case["case"] in measures]
    rows: list[list[object]] = []
    for case in shown:
        own, scored = measures[case["case"]], rows_of(case["case"], scores)
        volumes = [_volume(own.millilitres[:, n], name, scored) for n, name in enumerate(names)]
        means = [_shown(_means(scored, "dice"), "{:.3f}"), _shown(_means(scored, "hd95_mm"), "{:.1f}")]
        rows.append(
            [_name(case, anchors), _links(case, page), _grid(own), *volumes, *(means if scores else [])]
        )
    if len(shown) > 1:
        rows.append(_summary([measures[case["case"]] for case in shown], scores, names))
    return table(head, rows, numeric_from=2, groups=groups)


def rows_of(case: str, scores: Sequence[Row]) -> list[Row]:
    """Scores of a case; of a time series those of its frames, ``<case>_t00``, …."""
    frame = re.compile(re.escape(case) + r"(_t\d+)?")
    return [row for row in scores if frame.fullmatch(str(row["case"]))]


def _name(case: Case, anchors: Mapping[str, str]) -> Html:
    name = case["case"]
    return element("a", name, href=f"#{anchors[name]}") if name in anchors else element("span", name)


def _links(case: Case, page: Path) -> Html:
    links = [file_link(case[key], page, text) for key, text in FILES.items() if case.get(key)]
    return element("td", join(part for link in links for part in (link, " ")), class_="files")


def _grid(measures: Measures) -> Html:
    """Voxels, and their edges (mm) below."""
    size = "×".join(f"{edge:.3g}" for edge in measures.size)
    return join(["×".join(map(str, measures.shape)), BREAK, element("small", f"{size} mm")])


def _volume(frames: np.ndarray, name: str, scored: Sequence[Row]) -> Html:
    """Volume of a class, least to most of a time series; after a slash that of the label, below its Dice."""
    low, high = float(frames.min()), float(frames.max())
    own = [row for row in scored if row["name"] == name]
    parts: list[object] = [f"{high:.1f}" if len(frames) == 1 else f"{low:.1f}–{high:.1f}"]
    if len(own) == 1:
        parts.append(element("small", f" / {float(own[0]['reference_ml']):.1f}"))
    if own:
        parts += [BREAK, element("small", f"Dice {np.mean([float(row['dice']) for row in own]):.3f}")]
    missed = high == 0 and any(float(row["reference_ml"]) for row in own)
    return element("td", *parts, class_="number warn" if missed else "number")


def _means(scores: Sequence[Row], column: str) -> list[float]:
    """Of each scored case (or frame) the mean over its classes; ``nan`` where one has no value."""
    by_case: dict[str, list[float]] = {}
    for row in scores:
        by_case.setdefault(str(row["case"]), []).append(float(row[column]))
    return [float(np.mean(values)) for values in by_case.values()]


def _shown(values: Sequence[float], form: str) -> str:
    known = [value for value in values if math.isfinite(value)]
    return form.format(np.mean(known)) if known else "–"


def _summary(measures: Sequence[Measures], scores: Sequence[Row], names: Sequence[str]) -> list[object]:
    """The last line: mean ± standard deviation over cases (of a time series, of its greatest volume)."""
    volumes = np.stack([own.millilitres.max(axis=0) for own in measures])  # (cases, classes)
    cells: list[object] = [element("td", element("b", "mean ± sd"), class_="files"), "", ""]
    for name, column in zip(names, volumes.T, strict=True):
        dice = [float(row["dice"]) for row in scores if row["name"] == name]
        below = [BREAK, element("small", f"Dice {_shown(dice, '{:.3f}')}")] if dice else []
        cells.append(element("td", _spread(column, "{:.1f}"), *below, class_="number"))
    if scores:
        cells += [_spread(_means(scores, "dice"), "{:.3f}"), _spread(_means(scores, "hd95_mm"), "{:.1f}")]
    return cells


def _spread(values: Sequence[float], form: str) -> Html:
    known = [value for value in values if math.isfinite(value)]
    around = f" ± {form.format(np.std(known, ddof=1))}" if len(known) > 1 else ""
    return join([element("b", _shown(values, form)), element("small", around)])
