from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scripts.benchmark import _write_copies, quality, quality_rows, quality_table
from shared_components.errors import InputError


def study(folder, name: str, dice: float) -> None:
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
    rows = list(quality_rows([tmp_path / "seed0", tmp_path / "seed1"]))
    assert [row["dice"] for row in rows] == pytest.approx([0.75, 0.95])
    table = quality_table(rows, "head")
    assert "| ours | 0.850 ± 0.141 | 4.0 ± 0.0 |" in table and "head, 2 seeds" in table


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no finished study"):
        quality(output_dir=str(tmp_path), report_only=True)
    with pytest.raises(InputError, match="expected one of head, found 'knee'"):
        quality("knee")


def test_the_oblique_copy_shows_the_same_head(tmp_path):
    _write_copies(tmp_path)
    mask = nib.load(tmp_path / "brain_mask_2mm.nii.gz")
    copy = nib.load(tmp_path / "brain_mask_1mm_lps_oblique.nii.gz")
    assert (
        nib.aff2axcodes(copy.affine) == ("L", "P", "S")
        and np.abs(copy.affine[:3, :3]).min(axis=0).max() < 0.3
    )
    litres = [
        np.asanyarray(i.dataobj).sum() * abs(np.linalg.det(i.affine[:3, :3])) / 1e6 for i in (mask, copy)
    ]
    assert litres[1] == pytest.approx(litres[0], rel=0.01)
    middles = [
        i.affine[:3] @ np.append(np.argwhere(np.asanyarray(i.dataobj)).mean(axis=0), 1) for i in (mask, copy)
    ]
    assert middles[1] == pytest.approx(middles[0], abs=0.3)
