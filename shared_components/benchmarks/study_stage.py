"""A whole study as one stage of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.benchmarks.repository import BUNDLES
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import read_federation
from shared_components.records import found_record, write_record
from shared_components.study.runner import DESCRIPTION, run_study
from shared_components.study.stage import LOG, Stage

FILE = "federation.yaml"
BEGUN = "begun.json"
RESULTS = (DESCRIPTION, "report.html", "factory/*.pt", "**/model.pt", "**/metrics.csv", "**/scores.csv")


@dataclass(frozen=True)
class StudyStage(Stage):
    """What ``federate.py study FILE --resume`` does, in the stage's folder.

    Bundle and config files are the factory's; the overrides are the content of the federation file.
    """

    def prepare(self, fingerprint: str) -> None:
        """What an interrupted run of the same study has left is kept: it goes on from there."""
        begun = found_record(self.folder / BEGUN)
        if begun is None or begun["fingerprint"] != fingerprint:
            super().prepare(fingerprint)
        write_record(self.folder / BEGUN, {"fingerprint": fingerprint})

    def federation(self) -> Federation:
        """The study's federation, whose file is written into the folder."""
        return read_federation(write_record(self.folder / FILE, self.overrides))

    def work(self) -> None:
        run_study(self.federation(), resume=True)

    def progress(self) -> str:
        """The last line that the study has told."""
        log = self.folder / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return lines[-1] if lines else super().progress()

    def outputs(self) -> list[Path]:
        return sorted({file for pattern in RESULTS for file in self.folder.glob(pattern)})


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
