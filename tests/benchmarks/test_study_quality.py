from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared_components.benchmarks.quality_scores import OURS
from shared_components.benchmarks.study_quality import StudyQuality, study_quality
from shared_components.errors import InputError
from shared_components.metrics.score_files import write_scores
from shared_components.records import read_table, write_record
from tests.study_records import write_study

SOURCE = "source model"


def study(folder: Path, dice: dict[str, dict[str, float]], labelled: str = "north") -> None:
    """What a finished study leaves: Dice of each client and method, for two subjects that differ by 0.1."""
    clients = {name: {"domain": name[:2], "role": "unlabelled", "subjects": {}} for name in dice}
    clients[labelled]["role"] = "labelled"
    scores = []
    for client, methods in dice.items():
        for number, (method, value) in enumerate(methods.items()):
            csv = f"clients/{client}/{number}/scores.csv"
            rows = [
                {
                    "case": case,
                    "label": 1,
                    "name": "brain",
                    "dice": value + more,
                    "hd95_mm": 4.0,
                    "hd_mm": 5.0,
                }
                | {"predicted_ml": 1.0, "reference_ml": 1.0}
                for case, more in (("a", 0.0), ("b", 0.1))
            ]
            write_scores(rows, folder / csv)
            place = f"clients/{client}/{number}"
            scores.append({"client": client, "method": method, "predictions": place, "csv": csv})
    record = write_record(folder / "choice.json", {"chosen": ["near"]})
    choices = {"south": {"record": record.name}}
    candidates = {"near": SOURCE, "far": OURS}
    write_study(folder, clients=clients, scores=scores, choices=choices, candidates=candidates)


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed, more in ((0, 0.0), (1, 0.02)):
        methods = {SOURCE: 0.5 + more, OURS: 0.6 + more}
        study(
            tmp_path / "head" / f"seed{seed}",
            {"north": {SOURCE: 0.85}, "south": methods, "island": {**methods, OURS: 0.4 + more}},
        )
    return tmp_path


def test_tables_hold_means_and_paired_differences(folder):
    table = study_quality("head", 3, folder, report_only=True)
    assert "head, labels at t1, seeds: 2." in table
    assert f"| Dice | so | is | mean | difference to {OURS} |" in table
    assert f"| {OURS} | 0.660 ± 0.014 | 0.460 ± 0.014 | 0.560 ± 0.014 | – |" in table
    # 0.1 below ours in the south and 0.1 above on the island, in every seed and subject
    assert f"| {SOURCE} | 0.560 ± 0.014 | 0.560 ± 0.014 | 0.560 ± 0.014 | +0.000 [+0.000, +0.000] |" in table
    assert f"| {SOURCE} | 4.0 ± 0.0 | 4.0 ± 0.0 | 4.0 ± 0.0 |" in table
    assert "own domain: no 0.900" in table and "| no |" not in table


def test_choices_stand_beside_what_the_test_labels_say(folder):
    for file in folder.glob("head/*/study.json"):
        content = json.loads(file.read_text())
        first = next(entry for entry in content["scores"] if entry["client"] == "south")
        content["scores"].append({**first, "method": "chosen"})
        file.write_text(json.dumps(content))
    table = study_quality("head", 3, folder, report_only=True)
    assert f"| so | 0 | {SOURCE} | 0.550 | {OURS} | 0.650 | 0.100 | +0.000 |" in table
    assert "mean 0.100, largest 0.100; below the best candidate without a factory: mean +0.000" in table


def test_everything_lies_beside_the_table(folder):
    table = study_quality("head", 3, folder, report_only=True)
    own = folder / "head"
    assert (own / "quality.md").read_text(encoding="utf-8") == table
    scores = read_table(own / "scores.csv", "")
    assert len(scores) == 2 * 2 * 5 and list(scores[0].values())[:4] == ["0", "no", SOURCE, "a"]
    lines = (own / "differences.csv").read_text().splitlines()
    south = next(line for line in lines if line.startswith(f"{SOURCE},{OURS},so,mean,dice"))
    assert [float(number) for number in south.split(",")[5:8]] == pytest.approx([-0.1] * 3)
    assert (own / "quality.png").stat().st_size > 5000


def test_variants_in_turn_stand_in_one_table_too(folder):
    """South has no labels in both; island's and north's scores are those of the variant in which they had none."""
    study(
        folder / "head_t2" / "seed0",
        {"island": {SOURCE: 0.8}, "south": {SOURCE: 0.3, OURS: 0.4}, "north": {SOURCE: 0.3, OURS: 0.2}},
        labelled="island",
    )
    table = study_quality("head", 1, folder, report_only=True, labelled="t1,t2")
    last = table[table.index("head, labels at each of t1, t2 in turn, seeds: 2.") :]
    assert f"| Dice | so | is | no | mean | difference to {OURS} |" in last
    # south, seed 0: the means of 0.65 and 0.45, of 0.55 and 0.35; seed 1 in the first alone
    assert f"| {OURS} | 0.610 ± 0.085 | 0.460 ± 0.014 | 0.250 (1) | 0.417 (1) | – |" in last
    assert f"| {SOURCE} | 0.510 ± 0.085 | 0.560 ± 0.014 | 0.350 (1) | 0.450 (1) |" in last
    assert (folder / "head_in_turn" / "differences.csv").is_file()


def test_another_reference(folder):
    table = study_quality("head", 3, folder, report_only=True, reference=SOURCE)
    assert f"difference to {SOURCE} |" in table and f"“{SOURCE}”" in table
    with pytest.raises(
        InputError, match=r"reference: expected one of source model; adaptation, found 'ours'"
    ):
        study_quality("head", 3, folder, report_only=True, reference="ours")


def test_folder_tells_scenario_labels_and_size(tmp_path):
    def name(*arguments: object, **sizes: bool) -> str:
        return StudyQuality(*arguments, **sizes).folder.name

    assert name("spine", tmp_path, ("ceitec",)) == "spine"
    assert name("spine", tmp_path, ("ceitec", "ucl"), fast=True) == "spine_ceitec+ucl_fast"
    assert name("head", tmp_path, ("t2",), smoke=True) == "head_t2_smoke"


def test_faults_are_told(tmp_path):
    with pytest.raises(InputError, match="holds no finished study"):
        study_quality("head", 3, tmp_path, report_only=True)
    with pytest.raises(
        InputError, match=r"labelled: expected some of ceitec, .*joined by \+, found 'oxford'"
    ):
        study_quality("spine", 1, tmp_path, labelled="ceitec+oxford")
    with pytest.raises(InputError, match=r"rows: expected some of plain, mild, .* found best"):
        study_quality("spine", 1, tmp_path, rows="best")
    known = (
        r"reference: expected one of .*; adaptation; chosen; .*; histogram-matched source; .*, found 'best'"
    )
    with pytest.raises(InputError, match=known):  # before anything is trained
        study_quality("spine", 1, tmp_path, reference="best")
    assert not any(tmp_path.iterdir())
