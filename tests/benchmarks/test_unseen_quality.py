from __future__ import annotations

import math
from pathlib import Path

import pytest

from shared_components.benchmarks.unseen_quality import Result, read_result, unseen_quality, unseen_tables
from shared_components.benchmarks.unseen_rows import FULL, ROWS, UnseenBench, UnseenRun
from shared_components.benchmarks.unseen_stages import unseen_stages
from shared_components.command_line import chosen
from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.metrics.score_files import write_scores
from shared_components.metrics.subject_scores import SubjectScore

ROW = {
    "case": "a",
    "label": 1,
    "name": "x",
    "hd95_mm": 2.0,
    "hd_mm": 3.0,
    "predicted_ml": 1.0,
    "reference_ml": 1.0,
}


def finish(place: UnseenRun, dice: float) -> None:
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
        finish(UnseenRun(bench, seed, "C", row), dice)
    finish(UnseenRun(bench, 0, "D", "unet"), 0.9)
    table = report("cardiac", tmp_path, rows="unet")
    assert "| U-Net | 0.600 ± 0.141 | 0.900 (1) | 0.700 (1) | – |" in table
    assert (
        "| segmentation on synthetic volumes, all labels of one site | 0.400 (1) | – | – | -0.100 [" in table
    )
    assert (bench.folder / "quality.md").read_text(encoding="utf-8") == table
    beside = {path.name for path in bench.folder.glob("*.*")}
    assert {"scores.csv", "differences.csv", "quality.png"} <= beside


def test_any_method_may_be_the_reference(tmp_path):
    bench = UnseenBench("spine_unseen", tmp_path)
    for row, dice in (("self_trained_mild", 0.6), ("meta_learning_mild", 0.5)):
        finish(UnseenRun(bench, 0, "nwu", row), dice)
    table = report("spine_unseen", tmp_path, reference="self-trained U-Net, mild looks")
    named = report("spine_unseen", tmp_path, rows="self_trained_mild,meta_learning_mild")
    assert "Differences are to “self-trained U-Net, mild looks”" in named
    assert "Differences are to “self-trained U-Net, mild looks”" in report("spine_unseen", tmp_path)
    assert "| meta-learning, mild looks | 0.500 | 0.500 | -0.100 [-0.100, -0.100] |" in table
    assert table.startswith("Spinal cords of six real hospitals")
    with pytest.raises(InputError, match=r"reference: expected one of U-Net; .*, found 'best'"):
        report("spine_unseen", tmp_path, reference="best")
    before = (tmp_path / "spine_unseen" / "differences.csv").read_text(encoding="utf-8")
    with pytest.raises(
        InputError, match=r"expected one of self-trained U-Net, mild looks; meta-.*, found 'U-Net'"
    ):
        report("spine_unseen", tmp_path, reference="U-Net")
    assert (tmp_path / "spine_unseen" / "differences.csv").read_text(encoding="utf-8") == before


def test_run_of_other_settings_is_not_counted(tmp_path):
    place = UnseenRun(UnseenBench("cardiac", tmp_path), 0, "C", "unet")
    finish(place, 0.5)
    (place.training / "done.json").write_text("{}")
    with pytest.raises(InputError, match="holds no finished run of the configs as they are"):
        report("cardiac", tmp_path)


def test_run_that_has_lost_or_changed_an_output_is_not_counted(tmp_path):
    bench = UnseenBench("cardiac", tmp_path)
    place = UnseenRun(bench, 0, "C", "unet")
    finish(place, 0.5)
    finish(UnseenRun(bench, 0, "D", "unet"), 0.9)
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
    place = UnseenRun(UnseenBench("cardiac", tmp_path, **size), 0, "C", "unet")
    finish(place, 0.5)
    assert (tmp_path / folder).resolve() in place.training.parents
    assert "| U-Net | 0.500 |" in report("cardiac", tmp_path, **size)


def test_a_row_that_a_scenario_has_not_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"rows: expected some of unet, .*, found bound"):
        report("spine_unseen", tmp_path, rows="bound")


HEARTS = UnseenBench("cardiac", Path())


def result(row: str, held_out: str, seed: int, dice: float, hd95: float = 5.0) -> Result:
    scores = (SubjectScore(seed, held_out, ROWS[row].name, "a", "x", dice, hd95),)
    return Result(row, scores, 60.0 + seed, 600)


def cells(table: str, title: str) -> dict[str, list[str]]:
    """Cells of one of the tables, by the first cell of each line."""
    lines = table[table.index(f"| {title}") :].split("\n\n", maxsplit=1)[0].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {line[0]: line[1:] for line in split if line[0] != "---"}


def test_mean_and_deviation_over_seeds_and_mean_over_domains():
    found = [
        result("unet", "C", 0, 0.5),
        result("unet", "C", 1, 0.7),
        result("unet", "D", 0, 0.1),
        result("unet", "D", 1, 0.1),
    ]
    table = unseen_tables(HEARTS, found)
    assert cells(table, "Dice") == {
        "Dice": ["C", "D", "mean", f"difference to {ROWS[FULL].name}"],
        "U-Net": ["0.600 ± 0.141", "0.100 ± 0.000", "0.350 ± 0.071", "–"],
    }
    assert cells(table, "HD95 (mm)")["U-Net"] == ["5.0 ± 0.0", "5.0 ± 0.0", "5.0 ± 0.0"]
    assert "of first order" in table  # not the bundle's default
    assert (
        "over 2 seeds" in table
        and "10% of the training subjects of every other domain" in table
        and "Ablation" not in table
    )


def test_partial_table_says_how_many_seeds_a_cell_has():
    found = [result("unet", "C", 0, 0.5), result("unet", "C", 1, 0.7), result("unet", "D", 0, 0.1)]
    found.append(result("meta_learning", "D", 1, 0.3))
    dice = cells(unseen_tables(HEARTS, found), "Dice")
    assert dice["U-Net"][:3] == ["0.600 ± 0.141", "0.100 (1)", "0.300 (1)"]  # seed 1 has no mean yet
    assert dice["meta-learning, no looks"][:3] == ["–", "0.300 (1)", "–"]


def test_distance_without_value_is_left_out():
    found = [result("unet", "C", 0, 0.0, math.nan), result("unet", "C", 1, 0.5, 4.0)]
    table = unseen_tables(HEARTS, found)
    assert cells(table, "HD95 (mm)")["U-Net"] == ["4.0 (1)", "4.0 (1)"]
    assert cells(table, "Training")["U-Net"] == ["50.0%", "60 ± 1", "600", "2"]


def test_ablation_is_a_table_of_its_own_and_pairs_the_seeds():
    found = [result(FULL, "C", seed, dice) for seed, dice in enumerate((0.6, 0.8, 0.9))]
    found += [result("no_meta_learning", "C", seed, dice) for seed, dice in enumerate((0.5, 0.7))]
    table = unseen_tables(HEARTS, found)
    full, without = "0.767 ± 0.153", "0.600 ± 0.141 (2)"
    assert cells(table, "Ablation: Dice") == {
        "Ablation: Dice": ["C", "mean", f"difference to {ROWS[FULL].name}"],
        "meta-learning, strong looks": [full, full, "–"],
        "without meta-learning": [without, without, "-0.100 [-0.100, -0.100]"],
    }
    assert list(cells(table, "Dice")) == ["Dice", "meta-learning, strong looks"]


def test_only_a_difference_that_excludes_zero_is_bold():
    found = [result(FULL, "C", seed, 0.6) for seed in range(3)]
    found += [result("unet", "C", seed, dice) for seed, dice in enumerate((0.5, 0.65, 0.55))]
    found += [result("meta_learning", "C", seed, dice) for seed, dice in enumerate((0.5, 0.58, 0.55))]
    dice = cells(unseen_tables(HEARTS, found), "Dice")
    assert dice["U-Net"][-1] == "-0.033 [-0.100, +0.050]"
    assert dice["meta-learning, no looks"][-1] == "**-0.057 [-0.100, -0.020]**"


def test_ablation_alone_needs_no_full_method():
    table = unseen_tables(HEARTS, [result("no_meta_learning", "C", 0, 0.5)])
    assert cells(table, "Ablation: Dice")["without meta-learning"] == ["0.500", "0.500", "–"]
    assert "over 1 seed." in table and "| Dice" not in table


def test_result_is_read_from_what_a_run_leaves(tmp_path):
    place = UnseenRun(UnseenBench("cardiac", tmp_path), 2, "D", "unet")
    place.training.mkdir(parents=True)
    (place.training / "metrics.csv").write_text("epoch,update,loss\n1,50,3\n2,100,2\n")
    same = {"case": "a", "hd_mm": 3.0, "predicted_ml": 1.0, "reference_ml": 1.0}
    rows = [
        {**same, "label": 1, "name": "x", "dice": 0.5, "hd95_mm": 3.0},
        {**same, "label": 2, "name": "y", "dice": 0.0, "hd95_mm": math.nan},
    ]
    write_scores(rows, place.predictions / "scores.csv")
    found = read_result(place, 61.5)
    assert (found.row, found.iterations, found.seconds, found.missed) == ("unet", 100, 61.5, 0.5)
    assert found.scores[0] == SubjectScore(2, "D", "U-Net", "a", "x", 0.5, 3.0)
    assert [score.dice for score in found.scores] == pytest.approx([0.5, 0.0])
