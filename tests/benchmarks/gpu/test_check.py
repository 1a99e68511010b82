from __future__ import annotations

import csv
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from shared_components.benchmarks.gpu.check import STEPS, Checklist, CheckStep, gpu_check
from shared_components.benchmarks.gpu.place import CheckedPart, CheckPlace
from shared_components.errors import InputError

REPOSITORY = Path(__file__).parents[3]
BARE = '''
import sys

class Absent:
    """Packages that a GPU machine lacks."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("itk", "nvflare", "dp_accounting", "pydicom"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
'''


@pytest.mark.thorough
def test_the_whole_check_runs_on_a_bare_machine(tmp_path):
    """Every step on the CPU with its sizes cut, through the script, where there is no ITK."""
    (tmp_path / "sitecustomize.py").write_text(BARE)
    run = subprocess.run(
        ["bash", "scripts/gpu_check.sh", "--device", "cpu", "--smoke", "--output_dir", tmp_path / "out"],
        cwd=REPOSITORY, env=os.environ | {"SITE": str(tmp_path)}, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    rows = list(csv.DictReader((tmp_path / "out" / "gpu_check.csv").open()))
    assert list(dict.fromkeys(row["step"] for row in rows)) == [step.name for step in STEPS]
    assert {row["result"] for row in rows} == {"ok"}
    assert len(run.stdout.splitlines()) == len(rows)
    assert {"an iteration, float32", "full update, 2 slices, bfloat16"} <= {row["what"] for row in rows}


def test_what_cannot_be_checked_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--only: expected some of machine, networks.*found 'drawing'"):
        gpu_check(tmp_path, "cpu", only=["drawing"])
    with pytest.raises(InputError, match=r"--device: expected cuda, or cpu.*found 'tpu'"):
        gpu_check(tmp_path, "tpu")


def good(place):
    print("what a step prints is kept")
    yield CheckedPart("first", 1.5, 0.25)
    yield CheckedPart("second", remark="as expected")


def broken(place):
    yield CheckedPart("before")
    raise RuntimeError("no kernel\nfor this device")


def endless(place):
    while True:
        time.sleep(0.01)
        yield from ()


def disagreeing(place):
    yield CheckedPart("outputs", remark="0.3 apart", well=False)


def test_failures_are_lines_and_stop_nothing(tmp_path, capsys):
    place = CheckPlace(torch.device("cpu"), tmp_path, smoke=True)
    works = {"broken": broken, "endless": endless, "disagreeing": disagreeing, "good": good}
    assert not Checklist(place).run([CheckStep(name, work, 0.3) for name, work in works.items()], seconds=60)
    rows = list(csv.DictReader((tmp_path / "gpu_check.csv").open()))
    assert [(row["step"], row["what"], row["result"]) for row in rows] == [
        ("broken", "before", "ok"),
        ("broken", "ended early", "FAILED"),
        ("endless", "ended early", "FAILED"),
        ("disagreeing", "outputs", "FAILED"),
        ("good", "first", "ok"),
        ("good", "second", "ok"),
    ]
    assert rows[1]["remark"] == "RuntimeError: no kernel for this device"
    assert rows[2]["remark"].startswith("OutOfTime: longer than")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["ok       good: first, 1.5 s, 0.25 GB", "ok       good: second, as expected"]
    output = (tmp_path / "output.txt").read_text()
    assert "what a step prints is kept" in output and "Traceback" in output
    assert (tmp_path / "gpu_check.md").read_text().count("\n| ") == len(rows)


def test_all_well_and_no_time_left(tmp_path):
    place = CheckPlace(torch.device("cpu"), tmp_path, smoke=True)
    assert Checklist(place).run([CheckStep("good", good, 10)], seconds=60)
    assert not Checklist(place).run([CheckStep("good", good, 10)], seconds=1)
    assert "left out" in (tmp_path / "gpu_check.md").read_text()
