from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from shared_components.benchmarks.real_head import write_copies


def test_the_oblique_copy_shows_the_same_head(tmp_path):
    write_copies(tmp_path)
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
