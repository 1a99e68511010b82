"""Write a report as one HTML file: ``python scripts/report.py RUN_DIR [--out report.html]``."""

from __future__ import annotations

from pathlib import Path

from shared_components.command_line import run
from shared_components.errors import InputError
from shared_components.report import write_inference_report, write_study_report


def report(run_dir: str, out: str | None = None) -> None:
    """Write the report of a study, or of a folder of segmentations.

    Args:
        run_dir: a study's folder (with study.json) or the output folder of an inference run (with cases.json).
        out: the page to write; by default report.html in that folder.
    """
    folder = Path(str(run_dir))
    if (folder / "study.json").is_file():
        page = write_study_report(folder, out)
    elif (folder / "cases.json").is_file():
        page = write_inference_report(folder, out)
    else:
        raise InputError(
            f"{folder}: expected study.json or cases.json in it, found neither; "
            "name the folder of a study or of an inference run"
        )
    print(page)


if __name__ == "__main__":
    run(report)
