from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.report import write_inference_report
from shared_components.report.inference_report import class_volumes


def test_every_case_has_its_outlines_and_volumes(inference_run, tmp_path):
    page = write_inference_report(inference_run(tmp_path / "out", scored=False)).read_text(encoding="utf-8")
    assert page.count("<img") == 3
    assert "<h2>Scores" not in page
    (volume,) = class_volumes(tmp_path / "out" / "s0_seg.nii.gz", {1: "brain"})
    assert f">{volume:.1f}<" in page
    assert volume == pytest.approx(4 / 3 * 3.1416 * 5**3 * 12 / 1000, rel=0.1)  # a ball of 5 voxels of 12 mm3


def test_scores_are_shown_where_there_are_any(inference_run, tmp_path):
    assert "<h2>Scores" in write_inference_report(inference_run(tmp_path / "out")).read_text(encoding="utf-8")


def test_a_missing_segmentation_becomes_a_remark(inference_run, tmp_path):
    folder = inference_run(tmp_path / "out")
    (folder / "s1_seg.nii.gz").unlink()
    page = write_inference_report(folder).read_text(encoding="utf-8")
    assert "s1_seg.nii.gz: expected a segmentation, found no file" in page
    assert page.count("<img") == 2


def test_a_folder_without_a_case_list_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cases\.json: expected"):
        write_inference_report(tmp_path)
