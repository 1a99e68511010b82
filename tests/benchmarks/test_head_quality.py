from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared_components.benchmarks.head_quality import head_quality, study_rows, study_table
from shared_components.errors import InputError


def study(folder: Path, name: str, dice: float) -> None:
    place = folder / name / "clients" / "south" / "adaptation_predictions"
    place.mkdir(parents=True)
    lines = ["case,label,name,dice,hd95_mm", f"a,1,brain,{dice},4.0", f"b,1,brain,{dice + 0.1},nan"]
    (place / "scores.csv").write_text("\n".join(lines) + "\n")
    csv = "clients/south/adaptation_predictions/scores.csv"
    summary = {
        "clients": {"south": {"domain": "t2"}},
        "scores": [{"client": "south", "method": "ours", "csv": csv}],
    }
    (folder / name / "study.json").write_text(json.dumps(summary))


def test_table_averages_subjects_then_seeds(tmp_path):
    study(tmp_path, "seed0", 0.7)
    study(tmp_path, "seed1", 0.9)
    rows = list(study_rows([tmp_path / "seed0", tmp_path / "seed1"]))
    assert [row["dice"] for row in rows] == pytest.approx([0.75, 0.95])
    table = study_table(rows, "head")
    assert table.startswith("| head, 2 seeds | t2: Dice | t2: HD95 (mm) |\n|---|---|---|\n")
    assert "| ours | 0.850 ± 0.141 | 4.0 ± 0.0 |\n\nMachine: " in table


def test_report_only_reads_what_is_there(tmp_path):
    study(tmp_path / "head", "seed0", 0.7)
    table = head_quality(3, tmp_path, report_only=True)
    assert (
        "head, 1 seeds" in table and (tmp_path / "head" / "quality.md").read_text(encoding="utf-8") == table
    )


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no finished study"):
        head_quality(3, tmp_path, report_only=True)
