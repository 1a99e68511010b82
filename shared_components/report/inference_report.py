"""``report.html`` of a folder of segmentations: every case's files, volumes and scores, and how they look.

Written from ``cases.json`` and ``scores.csv``, where an inference run and an evaluation have left them; any other
folder of label volumes will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared_components.data.annotations import IGNORE, known_text
from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.inferers.case_list import FAULT
from shared_components.inferers.cases import Case
from shared_components.metrics import read_scores, summarize
from shared_components.metrics.score_tables import Row
from shared_components.report.case_table import case_table, rows_of
from shared_components.report.case_volumes import load_case
from shared_components.report.class_volumes import Measures, frames_uri, measure
from shared_components.report.figures import file_uri
from shared_components.report.html import Html, element, missing, page, picture, section
from shared_components.report.overlays import legend, orthogonal_figure, slices_figure
from shared_components.report.planes import telling_frames
from shared_components.report.scores_table import classes_table
from shared_components.report.segmentation_folder import segmented_cases

PICTURED = 30  # cases that are shown unless asked for more


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
    sections = [
        _scores(folder, scores, labels, sum(bool(known_text(case)) for case in cases if "label" in case)),
        _cases(case_table(cases, measures, scores, labels, output, anchors), faults, bool(scores)),
        _pictures(shown, len(cases), measures, scores, labels, anchors),
    ]
    title = f"Segmentations in {folder.resolve().name}"
    content = page(title, ", ".join(labels.values()), [(len(cases), "volumes")], sections)
    return write_text(output, content)


def _measures(cases: Sequence[Case], labels: Mapping[int, str]) -> tuple[dict[str, Measures], list[Html]]:
    found, faults = {}, []
    for case in cases:
        try:
            if FAULT in case:
                raise InputError(case[FAULT])
            found[case["case"]] = measure(case["segmentation"], list(labels))
        except InputError as error:
            faults.append(missing(error))
    return found, faults


def chosen_cases(cases: Sequence[Case], scores: Sequence[Row], count: int) -> list[Case]:
    """All cases, or ``count`` of them: half those of lowest Dice, if any are scored, the rest evenly spread."""
    if len(cases) <= count:
        return list(cases)
    dice = {case["case"]: [float(row["dice"]) for row in rows_of(case["case"], scores)] for case in cases}
    scored = sorted((name for name in dice if dice[name]), key=lambda name: float(np.mean(dice[name])))
    low = set(scored[: count // 2])
    others = [case["case"] for case in cases if case["case"] not in low]
    spread = np.linspace(0, len(others) - 1, count - len(low)).round().astype(int)
    kept = low | {others[place] for place in spread}
    return [case for case in cases if case["case"] in kept]


def _scores(folder: Path, scores: Sequence[Row], labels: Mapping[int, str], partly: int) -> Html:
    if not scores:
        return Html("")
    summary = summarize(scores)
    names = [*labels.values(), *(["mean"] if len(labels) > 1 else [])]
    plots = [picture(file_uri(path), path.stem, "sheet") for path in sorted(folder.glob("scores_*.png"))]
    note = "Mean ± standard deviation over the labelled cases; HD95: 95 % Hausdorff distance."
    if partly:
        note += f" Of {partly} cases a part is annotated; what nobody annotated is left out of all numbers."
    return section("Scores", classes_table(summary, names), *plots, note=note)


def _cases(cases: Html, faults: Sequence[Html], scored: bool) -> Html:
    after = " After the slash: volume of the experts' label; HD95: 95 % Hausdorff distance." if scored else ""
    return section("Cases", *faults, cases, note=f"Volumes are those of all voxels of a class.{after}")


def _pictures(
    cases: Sequence[Case],
    total: int,
    measures: Mapping[str, Measures],
    scores: Sequence[Row],
    labels: Mapping[int, str],
    anchors: Mapping[str, str],
) -> Html:
    parts = [legend(labels, reference=any("label" in case for case in cases))]
    for case in cases:
        name = case["case"]
        parts.append(element("h3", name, id=anchors[name]))
        parts.append(element("p", _facts(case, measures[name], rows_of(name, scores), labels), class_="note"))
        parts += _case_pictures(case, measures[name], labels)
    few = f" {len(cases)} of {total} cases are shown." if len(cases) < total else ""
    note = (
        "Above, to scale, the three planes in which most is segmented; below, slices through it, close up. "
        f"L, R, A, P, S, I: the patient's left and right, front and back, top and bottom.{few}"
    )
    return section("Pictures", *parts, note=note)


def _facts(case: Case, measures: Measures, scores: Sequence[Row], labels: Mapping[int, str]) -> str:
    volumes = measures.millilitres.max(axis=0)
    parts = [f"{name}: {volume:.1f} ml" for name, volume in zip(labels.values(), volumes, strict=True)]
    if scores:
        parts.append(f"Dice {np.mean([float(row['dice']) for row in scores]):.3f}")
    if known_text(case):
        parts.append(f"label {known_text(case)}")
    return ", ".join(parts)


def _case_pictures(case: Case, measures: Measures, labels: Mapping[int, str]) -> list[Html]:
    values = list(labels)
    try:
        volumes = load_case(
            case.get("image"), case.get("label"), {"": case["segmentation"]}, case.get(IGNORE)
        )
    except InputError as error:
        return [missing(error)]
    parts = [] if case.get("image") else [missing("no image: the segmentation lies on black")]
    series = len(volumes.image) > 1
    if series:
        parts.append(
            picture(frames_uri(measures.millilitres, list(labels.values())), "Volumes in every frame")
        )
    for frame in telling_frames(volumes):
        parts.append(orthogonal_figure(volumes, frame, values, f"Frame {frame}" if series else ""))
        parts.append(slices_figure(volumes, frame, values))
    return parts
