from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from shared_components.benchmarks.faulty_study import FaultyStudy, seconds_until_alone, wait_until
from shared_components.benchmarks.study_faults import different


@pytest.fixture
def studies(tmp_path) -> list[FaultyStudy]:
    """Two folders that hold the same, as of two studies that have run."""
    made = [FaultyStudy(tmp_path / name, tmp_path / "data") for name in ("whole", "broken")]
    for study in made:
        for name in (
            "factory/factory.pt",
            "clients/north/source_model/model.pt",
            "clients/north/scored/scores.csv",
        ):
            (study.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (study.folder / name).write_text(name)
        (study.folder / "factory" / "rounds.csv").write_text("round,seconds,loss\n1,0.5,2\n")
    return made


def test_the_smallest_study_is_taken_with_folders_of_its_own(studies, tmp_path):
    written = yaml.safe_load(studies[0].file.read_text())
    assert written["output_dir"] == str(tmp_path / "whole")
    assert written["clients"]["south"]["data_root"] == str(tmp_path / "data" / "t2")


def test_results_that_differ_or_are_gone_are_named_and_seconds_do_not_count(studies):
    whole, broken = studies
    table = broken.folder / "factory" / "rounds.csv"
    table.write_text("round,seconds,loss\n1,9.5,2\n")
    assert different(whole, broken) == []
    table.write_text("round,seconds,loss\n1,9.5,3\n")
    (broken.folder / "clients/north/source_model/model.pt").unlink()
    assert different(whole, broken) == [
        "clients/north/source_model/model.pt differs", "factory/rounds.csv differs"
    ]  # fmt: skip


def test_who_outlives_a_process_is_noticed():
    program = "import subprocess, sys; subprocess.Popen(['sleep', '0.5'])"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    process.wait()
    assert 0 < seconds_until_alone(process) < 20
    assert seconds_until_alone(process) < 0.1
    assert not wait_until(lambda: False, 0.01)
