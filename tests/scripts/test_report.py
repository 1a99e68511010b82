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


CASES = json.dumps({"cases": [], "labels": {"1": "brain"}})


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("study.json", '{"name": "three heads"}', "three heads"),
        ("cases.json", CASES, "Segmentations in"),
        ("metrics.csv", "epoch,loss\n1,0.5\n", "Training in"),
    ],
)
def test_the_kind_of_folder_is_found_out(report, tmp_path, capsys, name, content, title):
    (tmp_path / name).write_text(content)
    run(report, [str(tmp_path), "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and f"<h1>{title}" in page
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")


def test_another_folder_is_an_error_in_one_line(report, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(report, [str(tmp_path)])
    error = capsys.readouterr().err
    assert "expected study.json, cases.json, metrics.csv in it, found none of them" in error
    assert len(error.strip().splitlines()) == 1
