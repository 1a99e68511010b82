from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.benchmarks.cardiac_places import Place
from shared_components.benchmarks.cardiac_quality import cardiac_quality, chosen
from shared_components.benchmarks.cardiac_stages import cardiac_stages
from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.metrics.score_tables import write_scores

ROW = {
    "case": "a",
    "label": 1,
    "name": "x",
    "hd95_mm": 2.0,
    "hd_mm": 3.0,
    "predicted_ml": 1.0,
    "reference_ml": 1.0,
}


def finish(place: Place, dice: float, smoke: bool = False) -> None:
    """Leave what a finished run leaves."""
    place.data.mkdir(parents=True, exist_ok=True)
    before = []
    for stage in cardiac_stages(place, smoke):
        stage.folder.mkdir(parents=True)
        if stage.needs:
            write_scores([{**ROW, "dice": dice}], stage.folder / "scores.csv")
        else:
            place.trained.mkdir(exist_ok=True)
            (place.trained / "metrics.csv").write_text("epoch,update\n1,50\n")
        before = [stage.note(stage.fingerprint(FileDigests(), before), 60).outputs]


def test_table_holds_all_that_is_finished_in_the_folder(tmp_path):
    folder = tmp_path / "cardiac"
    for seed, row, dice in ((0, "unet", 0.5), (1, "unet", 0.7), (0, "synthetic", 0.4)):
        finish(Place(folder, seed, "C", row), dice)
    finish(Place(folder, 0, "D", "unet"), 0.9)
    table = cardiac_quality(1, tmp_path, report_only=True, rows="unet")
    assert "| U-Net | 0.600 ± 0.141 | 0.900 (1) | 0.700 (1) | – |" in table
    assert "| segmentation on synthetic volumes, all labels of one site | 0.400 (1) | – | – | – |" in table
    assert (folder / "quality.md").read_text(encoding="utf-8") == table
    beside = {path.name for path in folder.glob("*.*")}
    assert {"scores.csv", "differences.csv", "quality.png"} <= beside


def test_run_of_other_settings_is_not_counted(tmp_path):
    finish(Place(tmp_path / "cardiac", 0, "C", "unet"), 0.5, smoke=True)
    with pytest.raises(InputError, match="holds no finished run of the configs as they are"):
        cardiac_quality(1, tmp_path, report_only=True)


def test_run_that_has_lost_or_changed_an_output_is_not_counted(tmp_path):
    place = Place(tmp_path / "cardiac", 0, "C", "unet")
    finish(place, 0.5)
    finish(Place(tmp_path / "cardiac", 0, "D", "unet"), 0.9)
    (place.training / "metrics.csv").write_text("epoch,update\n1,5000\n")
    assert "| U-Net | 0.900 | 0.900 |" in cardiac_quality(1, tmp_path, report_only=True)


def test_names_of_a_command_line():
    known = ("A", "B", "C")
    assert chosen(None, known, "held_out") == ["A", "B", "C"]
    assert chosen("C, A,C", known, "held_out") == chosen(("C", "A"), known, "held_out") == ["C", "A"]
    with pytest.raises(InputError, match=r"^held_out: expected some of A, B, C, found E$"):
        chosen("A,E", known, "held_out")
    with pytest.raises(InputError, match=r"found none$"):
        chosen([], known, "held_out")


def test_folder_of_the_smallest_sizes_is_another_one(tmp_path):
    finish(Place(Path(tmp_path) / "cardiac_smoke", 0, "C", "unet"), 0.5, smoke=True)
    assert "| U-Net | 0.500 |" in cardiac_quality(1, tmp_path, report_only=True, smoke=True)
