"""Write a report as one HTML file: ``python scripts/report.py RUN_DIR [--out report.html]``."""

from __future__ import annotations

from pathlib import Path

from shared_components.command_line import run
from shared_components.errors import InputError
from shared_components.report import write_inference_report, write_study_report, write_training_report

KINDS = {  # the file by which a folder is told -> its report
    "study.json": write_study_report,
    "cases.json": write_inference_report,
    "metrics.csv": write_training_report,
}


def report(run_dir: str, out: str | None = None) -> None:
    """Write the report of a study, of a folder of segmentations, or of a training.

    Args:
        run_dir: a study's folder (with study.json), or the output folder of an inference run (with cases.json) or of
            a training (with metrics.csv).
        out: the page to write; by default report.html in that folder.
    """
    folder = Path(str(run_dir))
    for name, write in KINDS.items():
        if (folder / name).is_file():
            print(write(folder, out))
            return
    raise InputError(
        f"{folder}: expected {', '.join(KINDS)} in it, found none of them; "
        "name the folder of a study, of an inference run or of a training"
    )


if __name__ == "__main__":
    run(report)
