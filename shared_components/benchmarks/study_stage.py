"""A whole study as one stage of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.benchmarks.federation_stage import FederationStage
from shared_components.benchmarks.repository import BUNDLES
from shared_components.study.runner import run_study
from shared_components.study_record import FILE_NAME

FOLDER = "rows"  # of the study's: what lies in it, no study reads
RESULTS = (FILE_NAME, "report.html", "factory/*.pt", "**/model.pt", "**/metrics.csv", "**/scores.csv")


@dataclass(frozen=True)
class StudyStage(FederationStage):
    """What ``federate.py study FILE --resume`` does, in the stage's folder.

    Bundle and config files are the factory's; the overrides are the content of the federation file.
    """

    def work(self) -> None:
        run_study(self.federation(), resume=True)

    def outputs(self) -> list[Path]:
        """What a study leaves, without what a benchmark runs beside it."""
        found = {file for pattern in RESULTS for file in self.folder.glob(pattern)}
        return sorted(file for file in found if file.relative_to(self.folder).parts[0] != FOLDER)


def study_stage(client: str, values: Mapping[str, Any], folder: Path) -> StudyStage:
    """The stage of a study with this repository's bundles.

    Args:
        client: whose stage it is, in words.
        values: the content of a federation file; its bundle and its output folder are replaced.
        folder: where it writes.
    """
    own = {**values, "bundle": str(BUNDLES / "factory"), "output_dir": str(folder)}
    configs = tuple(values.get("configs", ("common.yaml", "train.yaml")))
    others = [str(BUNDLES / name / "configs") for name in ("adaptation", "segmentation")]
    roots = [settings["data_root"] for settings in values["clients"].values()]
    return StudyStage(client, "study", own["bundle"], configs, own, folder, reads=(*others, *roots))
