from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import pytest

from shared_components.benchmarks.gpu.check import STEPS, gpu_check
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
