from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.benchmarks.named import chosen
from shared_components.benchmarks.unseen_places import Place, UnseenBench
from shared_components.benchmarks.unseen_quality import unseen_quality
from shared_components.benchmarks.unseen_stages import unseen_stages
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


def finish(place: Place, dice: float) -> None:
    """Leave what a finished run leaves."""
    place.data.mkdir(parents=True, exist_ok=True)
    before = []
    for stage in unseen_stages(place):
        stage.folder.mkdir(parents=True)
        if stage.needs:
            write_scores([{**ROW, "dice": dice}], stage.folder / "scores.csv")
        else:
            place.trained.mkdir(exist_ok=True)
            (place.trained / "metrics.csv").write_text("epoch,update\n1,50\n")
        before = [stage.note(stage.fingerprint(FileDigests(), before), 60).outputs]


def report(scenario: str, output_dir: Path, **options) -> str:
    return unseen_quality(scenario, 1, output_dir, report_only=True, **options)


def test_table_holds_all_that_is_finished_in_the_folder(tmp_path):
    bench = UnseenBench("cardiac", tmp_path)
    for seed, row, dice in ((0, "unet", 0.5), (1, "unet", 0.7), (0, "synthetic", 0.4)):
        finish(Place(bench, seed, "C", row), dice)
    finish(Place(bench, 0, "D", "unet"), 0.9)
    table = report("cardiac", tmp_path, rows="unet")
    assert "| U-Net | 0.600 ± 0.141 | 0.900 (1) | 0.700 (1) | – |" in table
    assert "| segmentation on synthetic volumes, all labels of one site | 0.400 (1) | – | – | – |" in table
    assert (bench.folder / "quality.md").read_text(encoding="utf-8") == table
    beside = {path.name for path in bench.folder.glob("*.*")}
    assert {"scores.csv", "differences.csv", "quality.png"} <= beside


def test_any_method_may_be_the_reference(tmp_path):
    bench = UnseenBench("spine_unseen", tmp_path)
    for row, dice in (("self_trained_mild", 0.6), ("segmentation_mild", 0.5)):
        finish(Place(bench, 0, "nwu", row), dice)
    table = report("spine_unseen", tmp_path, reference="self-trained U-Net, mild looks")
    assert "| segmentation, mild looks | 0.500 | 0.500 | -0.100 [-0.100, -0.100] |" in table
    assert table.startswith("Spinal cords of six real hospitals")
    with pytest.raises(InputError, match=r"reference: expected one of U-Net; .*, found 'best'"):
        report("spine_unseen", tmp_path, reference="best")


def test_run_of_other_settings_is_not_counted(tmp_path):
    place = Place(UnseenBench("cardiac", tmp_path), 0, "C", "unet")
    finish(place, 0.5)
    (place.training / "done.json").write_text("{}")
    with pytest.raises(InputError, match="holds no finished run of the configs as they are"):
        report("cardiac", tmp_path)


def test_run_that_has_lost_or_changed_an_output_is_not_counted(tmp_path):
    bench = UnseenBench("cardiac", tmp_path)
    place = Place(bench, 0, "C", "unet")
    finish(place, 0.5)
    finish(Place(bench, 0, "D", "unet"), 0.9)
    (place.training / "metrics.csv").write_text("epoch,update\n1,5000\n")
    assert "| U-Net | 0.900 | 0.900 |" in report("cardiac", tmp_path)


def test_names_of_a_command_line():
    known = ("A", "B", "C")
    assert chosen(None, known, "held_out") == ["A", "B", "C"]
    assert chosen("C, A,C", known, "held_out") == chosen(("C", "A"), known, "held_out") == ["C", "A"]
    with pytest.raises(InputError, match=r"^held_out: expected some of A, B, C, found E$"):
        chosen("A,E", known, "held_out")
    with pytest.raises(InputError, match=r"found none$"):
        chosen([], known, "held_out")


@pytest.mark.parametrize(
    ("size", "folder"), [({"smoke": True}, "cardiac_smoke"), ({"fast": True}, "cardiac_fast")]
)
def test_folder_of_another_size_is_another_one(tmp_path, size, folder):
    place = Place(UnseenBench("cardiac", tmp_path, **size), 0, "C", "unet")
    finish(place, 0.5)
    assert (tmp_path / folder).resolve() in place.training.parents
    assert "| U-Net | 0.500 |" in report("cardiac", tmp_path, **size)


def test_a_row_that_a_scenario_has_not_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"rows: expected some of unet, .*, found bound"):
        report("spine_unseen", tmp_path, rows="bound")
