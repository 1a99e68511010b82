"""Write a report as one HTML file: ``python scripts/report.py FOLDER [--out report.html]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.command_line import run
from shared_components.errors import InputError
from shared_components.report import write_inference_report, write_study_report, write_training_report
from shared_components.report.inference_report import PICTURED
from shared_components.report.segmentation_folder import volume_files

KINDS = {"study.json": write_study_report, "metrics.csv": write_training_report}


def report(
    run_dir: str,
    out: str | None = None,
    images: str | None = None,
    references: str | None = None,
    labels: Mapping[int, str] | Sequence[str] | str | None = None,
    pictured: int = PICTURED,
) -> None:
    """Write the report of a study, of a training, or of any folder of segmentations.

    The further arguments are for segmentations alone.

    Args:
        run_dir: a study's folder (with study.json), the output folder of an inference run (with cases.json) or of
            a training (with metrics.csv), or a folder of label volumes from elsewhere.
        out: the page to write; by default report.html in that folder.
        images: where the images of segmentations from elsewhere are: a folder, a pattern or a client data root, with
            images named like the segmentations, which may end in _seg.
        references: where the experts' labels are, likewise.
        labels: class names in order from 0, as background,brain.
        pictured: cases to show in pictures; the table has all.
    """
    folder = Path(str(run_dir))
    found = next(
        (name for name in ("study.json", "cases.json", "metrics.csv") if (folder / name).is_file()), None
    )
    if found in KINDS:
        print(KINDS[found](folder, out))
    elif found or volume_files(folder):
        print(write_inference_report(folder, out, images, references, _names(labels), pictured))
    else:
        raise InputError(
            f"{folder}: expected study.json, cases.json, metrics.csv or label volumes in it, found none of them; "
            "name the folder of a study, of a training or of segmentations"
        )


def _names(labels: Mapping | Sequence | str | None) -> dict[int, str] | None:
    """Labels as fire hands them over: a mapping, a list, or text with commas."""
    if labels is None:
        return None
    if isinstance(labels, str):
        labels = labels.split(",")
    pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
    try:
        return {int(value): str(name).strip() for value, name in pairs}
    except ValueError as error:
        raise InputError(f"--labels: expected class names as background,brain, found {labels!r}") from error


if __name__ == "__main__":
    run(report)
