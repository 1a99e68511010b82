from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from shared_components.command_line import run


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location(
        "report", Path(__file__).parents[2] / "scripts" / "report.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.report


@pytest.mark.parametrize("name", ["study.json", "cases.json"])
def test_the_kind_of_folder_is_found_out(report, tmp_path, capsys, name):
    (tmp_path / name).write_text(json.dumps({"cases": [], "labels": {"1": "brain"}}))
    run(report, [str(tmp_path), "--out", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")


def test_another_folder_is_an_error_in_one_line(report, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(report, [str(tmp_path)])
    error = capsys.readouterr().err
    assert "expected study.json or cases.json in it, found neither" in error
    assert len(error.strip().splitlines()) == 1
