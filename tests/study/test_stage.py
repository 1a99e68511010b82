from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared_components.study import stages
from shared_components.study.stage import stage_progress
from shared_components.study.stages import run_stages
from shared_components.workplaces import WRITING
from tests.study.test_stages import chain


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "reading its images"),
        ({"a_seg.nii.gz": ""}, "1 volume written"),
        ({"t1/a.nii.gz": "", "t2/a.nii.gz": ""}, "2 volumes written"),
        ({f"{WRITING}1/a.nii.gz": ""}, "reading its images"),  # it has not got its name yet
        ({"metrics.csv": "epoch,update,loss\n1,30,0.5\n2,60,0.25\n"}, "epoch 2, update 60, loss 0.250"),
        ({"metrics.csv": "epoch,update\n"}, "reading its images"),
        ({"metrics.csv": "epoch,update,loss\n1,30,\n"}, "epoch 1, update 30"),
    ],
)
def test_words_for_what_lies_there(files, expected, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert stage_progress(tmp_path) == expected


def test_stage_without_a_folder_is_starting(tmp_path):
    assert stage_progress(tmp_path / "none") == "starting"


def test_a_folder_that_goes_while_it_is_read_is_passed_over(tmp_path, monkeypatch):
    for name in ("stays", "goes"):
        (tmp_path / "stage" / name).mkdir(parents=True)
        (tmp_path / "stage" / name / "a.nii.gz").touch()
    scandir = os.scandir

    def late(path):
        if Path(path).name == "goes":
            Path(path).rename(tmp_path / "gone")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)
    assert stage_progress(tmp_path / "stage") == "1 volume written"


def test_study_tells_when_stages_begin_end_and_are_long(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stages, "BEAT", 0.01)  # a worker's start takes longer
    run_stages(chain(tmp_path), jobs=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "north/first: begins" and lines[1] == "north/first: starting"
    assert lines[-1].startswith("north/second: done in ") and lines[-1].endswith("(2 of 2)")


def test_quiet_study_tells_nothing(tmp_path, capsys):
    run_stages(chain(tmp_path), jobs=2, quiet=True)
    assert capsys.readouterr().out == ""
