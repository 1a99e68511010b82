from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from shared_components.command_line import run
from shared_components.report.__main__ import report
from tests.study_records import study_content, write_study

CASES = json.dumps({"cases": [], "labels": {"1": "brain"}})


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("study.json", json.dumps(study_content(name="three heads")), "three heads"),
        ("cases.json", CASES, "Segmentations in"),
        ("metrics.csv", "epoch,loss\n1,0.5\n", "Training in"),
        ("rounds.csv", "round,client,loss\n1,north,0.5\n", "test_the_kind"),
    ],
)
def test_the_kind_of_folder_is_found_out(tmp_path, capsys, name, content, title):
    (tmp_path / name).write_text(content)
    run(report, [str(tmp_path), "--output_dir", str(tmp_path / "page")])
    page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and f"<h1>{title}" in page
    assert capsys.readouterr().out.strip() == str(tmp_path / "page" / "report.html")


def test_another_folder_is_an_error_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(report, [str(tmp_path)])
    error = capsys.readouterr().err
    assert "comparison.md or label volumes in it, found none of them" in error
    assert len(error.strip().splitlines()) == 1


def test_a_page_that_cannot_be_written_is_one_line(tmp_path, capsys):
    write_study(tmp_path)
    (tmp_path / "page" / "report.html").mkdir(parents=True)
    for out, message in (
        ("study.json", "found a file"),
        ("page", "cannot be written (Is a directory)"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run(report, [str(tmp_path), "--output_dir", str(tmp_path / out)])
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith("error: ") and message in error


def test_a_comparison_is_told_from_scored_segmentations(tmp_path, capsys):
    (tmp_path / "comparison.md").write_text("")
    with pytest.raises(SystemExit, match="2"):
        run(report, [str(tmp_path)])
    assert "expected scores of one or several methods" in capsys.readouterr().err
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), tmp_path / "a_seg.nii.gz")
    run(report, [str(tmp_path)])
    assert "<h1>Segmentations in" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_segmentations_from_elsewhere_find_their_images_and_names(tmp_path, capsys):
    for place in ("out/a_seg.nii.gz", "images/a.nii.gz"):
        (tmp_path / place).parent.mkdir()
        nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), tmp_path / place)
    words = ["--images", str(tmp_path / "images"), "--labels", "air,lung", "--pictured", "1"]
    run(report, [str(tmp_path / "out"), *words])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "lung" in page and 'href="../images/a.nii.gz"' in page and "no image" not in page


def test_class_names_that_are_none_are_named(tmp_path, capsys):
    (tmp_path / "cases.json").write_text(CASES)
    with pytest.raises(SystemExit, match="2"):
        run(report, [str(tmp_path), "--labels", "{air: 0}"])
    assert "--labels: expected class names as background,brain" in capsys.readouterr().err
