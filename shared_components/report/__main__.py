"""Write a report as one HTML file: ``python -m shared_components.report FOLDER [--output_dir OUT]``.

A module and not a script, since packages, which hold no scripts, write reports too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.command_line import names, run
from shared_components.errors import InputError
from shared_components.inferers.cases import CASE_LIST
from shared_components.report import (
    write_comparison_report,
    write_federated_report,
    write_inference_report,
    write_study_report,
    write_training_report,
)
from shared_components.report.case_table import volume_files
from shared_components.report.inference_report import PICTURED

KINDS = {  # the file by which a folder is told -> its report; None: that of segmentations
    "study.json": write_study_report,
    CASE_LIST: None,
    "metrics.csv": write_training_report,
    "rounds.csv": write_federated_report,
    "comparison.md": write_comparison_report,
}


def report(
    run_dir: str,
    output_dir: str | None = None,
    images: str | None = None,
    references: str | None = None,
    labels: Mapping[int, str] | Sequence[str] | str | None = None,
    pictured: int = PICTURED,
) -> None:
    """Write the report of a study, of a training, of a federated run, of a comparison, or of any segmentations.

    The further arguments are for segmentations alone. A page holds copies of the images that it shows: those of a
    study lie in its folder or in its clients' data roots, those of segmentations wherever cases.json, or a link in the
    folder, says. Look at the page of a folder that you got from others before you hand it on.

    Args:
        run_dir: the folder of a study (with study.json), of an inference run (cases.json), of a training
            (metrics.csv), of a federated run (rounds.csv) or of a comparison by scripts/evaluate.py (comparison.md),
            or a folder of label volumes from elsewhere.
        output_dir: where report.html goes; by default that folder.
        images: where the images of segmentations from elsewhere are: a folder, a pattern or a client data root, with
            images named like the segmentations, which may end in _seg.
        references: where the experts' labels are, likewise.
        labels: class names in order from 0, as background,brain.
        pictured: cases to show in pictures; the table has all.
    """
    if pictured < 0:
        raise InputError(f"pictured: expected 0 cases or more, found {pictured}")
    folder = Path(str(run_dir))
    page = None if output_dir is None else Path(str(output_dir)) / "report.html"
    found = next((name for name in KINDS if (folder / name).is_file()), None)
    if found == CASE_LIST or (found in (None, "comparison.md") and volume_files(folder)):
        print(write_inference_report(folder, page, images, references, _names(labels), pictured))
    elif found:
        print(KINDS[found](folder, page))
    else:
        raise InputError(
            f"{folder}: expected {', '.join(KINDS)} or label volumes in it, found none of them; "
            "name the folder of a study, of a run, of a comparison or of segmentations"
        )


def _names(labels: Mapping | Sequence | str | None) -> dict[int, str] | None:
    """Labels as fire hands them over: a mapping, a list, or text with commas."""
    if labels is None:
        return None
    pairs = labels.items() if isinstance(labels, Mapping) else enumerate(names(labels))
    try:
        return {int(value): str(name).strip() for value, name in pairs}
    except ValueError as error:
        raise InputError(f"--labels: expected class names as background,brain, found {labels!r}") from error


if __name__ == "__main__":
    run(report)
