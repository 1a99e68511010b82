"""``report.html`` of a folder of segmentations: every case's files, volumes and scores, and how they look.

Written from ``cases.json`` and ``scores.csv``, where an inference run and an evaluation have left them; any other
folder of label volumes will do. Several methods on the same cases are set side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared_components.data.label_maps import IGNORE, known_text
from shared_components.errors import InputError
from shared_components.inferers.case_dataset import FAULT
from shared_components.inferers.cases import Case
from shared_components.metrics import read_scores, summarize
from shared_components.metrics.comparison import read_comparison
from shared_components.metrics.score_files import Row
from shared_components.report.case_table import case_table, rows_by_case, segmented_cases
from shared_components.report.case_volumes import Measures, load_case, measure
from shared_components.report.curves import frames_uri
from shared_components.report.overlays import legend, orthogonal_picture, slices_picture, telling_frames
from shared_components.report.pages import Missing, Picture, file_link, write_page
from shared_components.report.run_sections import picture_part
from shared_components.report.scores_table import ScoreLine, classes_table, methods_table

PICTURED = 30  # cases that are shown unless asked for more


class PicturedCase(NamedTuple):
    """A case whose pictures the page shows: where links lead, facts in a line, pictures and remarks."""

    name: str
    anchor: str
    facts: str
    parts: list[Picture | Missing]


def write_inference_report(
    output_dir: str | Path,
    output: str | Path | None = None,
    images: str | Path | None = None,
    references: str | Path | None = None,
    names: Mapping[int, str] | None = None,
    pictured: int = PICTURED,
) -> Path:
    """Write the report of a folder of segmentations.

    Args:
        output_dir: the folder.
        output: the page; by default ``<output_dir>/report.html``.
        images: where the images are, when there is no cases.json, see :func:`segmented_cases`.
        references: where the experts' labels are, likewise.
        names: label value to class name.
        pictured: at most this many cases are shown in pictures; all are in the table.
    Raises:
        InputError: no segmentation in the folder, or ``cases.json`` or ``scores.csv`` is damaged.
    """
    folder = Path(output_dir)
    output = Path(output or folder / "report.html")
    cases, labels = segmented_cases(folder, images, references, names)
    scores = read_scores(folder / "scores.csv") if (folder / "scores.csv").is_file() else []
    measures, faults = _measures(cases, labels)
    shown = chosen_cases([case for case in cases if case["case"] in measures], scores, pictured)
    anchors = {case["case"]: f"case-{number}" for number, case in enumerate(shown, 1)}
    summary = summarize(scores) if scores else {}
    rows = rows_by_case((case["case"] for case in cases), scores)
    return write_page(
        output,
        "inference.html",
        f"Segmentations in {folder.resolve().name}",
        ", ".join(labels.values()),
        [(len(cases), "volumes")],
        scored=bool(scores),
        scores=classes_table(summary, [*labels.values(), *(["mean"] if len(labels) > 1 else [])]),
        plots=[picture_part(path, path.stem, "sheet") for path in sorted(folder.glob("scores_*.png"))],
        partly=sum(bool(known_text(case)) for case in cases if "label" in case),
        faults=faults,
        names=list(labels.values()),
        cases=case_table(cases, measures, scores, labels, output, anchors),
        legend=legend(labels, reference=any("label" in case for case in shown)),
        pictures=[
            _pictured(case, measures[case["case"]], rows[case["case"]], labels, anchors[case["case"]])
            for case in shown
        ],
        total=len(cases),
    )


def _measures(cases: Sequence[Case], labels: Mapping[int, str]) -> tuple[dict[str, Measures], list[Missing]]:
    found, faults = {}, []
    for case in cases:
        try:
            if FAULT in case:
                raise InputError(case[FAULT])
            found[case["case"]] = measure(case["segmentation"], list(labels))
        except InputError as error:
            faults.append(Missing(str(error)))
    return found, faults


def chosen_cases(cases: Sequence[Case], scores: Sequence[Row], count: int) -> list[Case]:
    """All cases, or ``count`` of them: half those of lowest Dice, if any are scored, the rest evenly spread."""
    if len(cases) <= count:
        return list(cases)
    rows = rows_by_case((case["case"] for case in cases), scores)
    dice = {name: float(np.mean([row["dice"] for row in own])) for name, own in rows.items() if own}
    scored = sorted(dice, key=dice.__getitem__)
    low = set(scored[: count // 2])
    others = [case["case"] for case in cases if case["case"] not in low]
    spread = np.linspace(0, len(others) - 1, count - len(low)).round().astype(int)
    kept = low | {others[place] for place in spread}
    return [case for case in cases if case["case"] in kept]


def _pictured(
    case: Case, measures: Measures, scores: Sequence[Row], labels: Mapping[int, str], anchor: str
) -> PicturedCase:
    facts = _facts(case, measures, scores, labels)
    return PicturedCase(case["case"], anchor, facts, _case_pictures(case, measures, labels))


def _facts(case: Case, measures: Measures, scores: Sequence[Row], labels: Mapping[int, str]) -> str:
    volumes = measures.millilitres.max(axis=0)
    parts = [f"{name}: {volume:.1f} ml" for name, volume in zip(labels.values(), volumes, strict=True)]
    if scores:
        parts.append(f"Dice {np.mean([float(row['dice']) for row in scores]):.3f}")
    if known_text(case):
        parts.append(f"label {known_text(case)}")
    return ", ".join(parts)


def _case_pictures(case: Case, measures: Measures, labels: Mapping[int, str]) -> list[Picture | Missing]:
    values = list(labels)
    try:
        volumes = load_case(
            case.get("image"), case.get("label"), {"": case["segmentation"]}, case.get(IGNORE)
        )
    except InputError as error:
        return [Missing(str(error))]
    parts: list[Picture | Missing] = []
    if not case.get("image"):
        parts.append(Missing("no image: the segmentation lies on black"))
    series = len(volumes.image) > 1
    if series:
        uri = frames_uri(measures.millilitres, list(labels.values()))
        parts.append(Picture(uri, "Volumes in every frame"))
    for frame in telling_frames(volumes):
        parts.append(orthogonal_picture(volumes, frame, values, f"Frame {frame}" if series else ""))
        parts.append(slices_picture(volumes, frame, values))
    return parts


def write_comparison_report(output_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of what ``compare_segmentations`` has written.

    Args:
        output_dir: the folder, with ``<method>/scores.csv``, or ``scores.csv`` of a single method.
        output: the page; by default ``<output_dir>/report.html``.
    Raises:
        InputError: no method's scores, or a damaged table.
    """
    folder = Path(output_dir)
    output = Path(output or folder / "report.html")
    tables, pictures = read_comparison(folder)
    scores = {method: rows for method, rows in ((m, read_scores(path)) for m, path in tables.items()) if rows}
    if not scores:
        raise InputError(
            f"{folder}: expected scores of one or several methods, found none; compare them again"
        )
    cases = list(dict.fromkeys(str(row["case"]) for rows in scores.values() for row in rows))
    return write_page(
        output,
        "comparison.html",
        f"Comparison in {folder.resolve().name}",
        "",
        [(len(scores), "methods"), (len(cases), "cases")],
        scores=_scores(scores),
        plots=[picture_part(path, kind="sheet", alternative=path.stem) for path in pictures],
        methods=list(scores),
        cases=[_case(case, scores) for case in cases],
        files=[(method, file_link(path, output)) for method, path in tables.items()],
    )


def _scores(scores: Mapping[str, Sequence[Row]]) -> list[tuple[str, list[ScoreLine]]]:
    """The table of the mean over classes, then, where there are several, one of each class by its name."""
    summaries = {method: summarize(rows) for method, rows in scores.items()}
    names = [n for n in dict.fromkeys(n for summary in summaries.values() for n in summary) if n != "mean"]
    classes = [(name, methods_table(summaries, name)) for name in names if len(names) > 1]
    return [("", methods_table(summaries)), *classes]


def _case(case: str, scores: Mapping[str, Sequence[Row]]) -> tuple[str, list[str], str]:
    """Its name, Dice under each method, and the best of these."""
    found = [[float(row["dice"]) for row in rows if row["case"] == case] for rows in scores.values()]
    means = [f"{np.mean(values):.3f}" if values else "–" for values in found]
    return case, means, max((mean for mean in means if mean != "–"), key=float, default="")
