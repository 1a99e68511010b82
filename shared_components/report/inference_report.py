"""``report.html`` of an inference run: every case with its outlines and the volume of each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.inferers import read_case_list
from shared_components.metrics import read_scores, summarize
from shared_components.report.html import Html, missing, page, section, table
from shared_components.report.overlays import legend, overlay
from shared_components.report.scores_table import scores_table


def write_inference_report(output_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a folder that an inference run filled.

    Args:
        output_dir: the folder, with ``cases.json`` and the segmentations.
        output: the page; by default ``<output_dir>/report.html``.
    Raises:
        InputError: no ``cases.json``, or it is damaged.
    """
    cases, labels = read_case_list(output_dir)
    labels = {value: name for value, name in labels.items() if value != 0}
    content = page(
        f"Segmentations in {Path(output_dir).resolve().name}",
        ", ".join(labels.values()),
        [(len(cases), "volumes")],
        [*_scores(Path(output_dir), labels), _volumes(cases, labels), _overlays(cases, labels)],
    )
    return write_text(output or Path(output_dir) / "report.html", content)


def _scores(folder: Path, labels: Mapping[int, str]) -> list[Html]:
    if not (folder / "scores.csv").is_file():
        return []
    summary = summarize(read_scores(folder / "scores.csv"))
    names = [*labels.values(), *(["mean"] if len(labels) > 1 else [])]
    rows = {name: {name: {"mean": summary[name]}} for name in names if name in summary}
    by_class = {"all cases": {name: part[name] for name, part in rows.items()}}
    return [
        section("Scores", scores_table(by_class), note="Mean ± standard deviation over the labelled cases.")
    ]


def _volumes(cases: list[dict], labels: Mapping[int, str]) -> Html:
    faults, rows = [], []
    for case in cases:
        try:
            rows.append(
                [case["case"], *(f"{volume:.1f}" for volume in class_volumes(case["segmentation"], labels))]
            )
        except InputError as error:
            faults.append(missing(error))
    return section("Volumes, ml", *faults, table(["Case", *labels.values()], rows))


def class_volumes(segmentation: str | Path, labels: Mapping[int, str]) -> list[float]:
    """Volume of each label of a NIfTI segmentation, ml.

    Raises:
        InputError: no such file.
    """
    if not Path(segmentation).is_file():
        raise InputError(f"{segmentation}: expected a segmentation, found no file; run the inference again")
    volume = nib.load(segmentation)
    voxel = abs(np.linalg.det(volume.affine[:3, :3])) / 1000
    values = np.asarray(volume.dataobj)
    return [float((values == value).sum() * voxel) for value in labels]


def _overlays(cases: list[dict], labels: Mapping[int, str]) -> Html:
    parts = [legend(labels, reference=any("label" in case for case in cases))]
    for case in cases:
        try:
            parts.append(
                overlay(
                    case["image"], case.get("label"), {"": case["segmentation"]}, list(labels), case["case"]
                )
            )
        except InputError as error:
            parts.append(missing(error))
    return section("Outlines", *parts)
