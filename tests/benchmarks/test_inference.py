from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from shared_components.benchmarks.inference import inference_benchmark, write_copies
from shared_components.errors import InputError


@pytest.mark.thorough
def test_both_ways_segment_every_volume_and_the_table_compares_them(tmp_path):
    table = inference_benchmark(volumes=5, shape=(40, 36, 4), output_dir=str(tmp_path))
    assert "| this bundle |" in table
    assert "| stock pattern |" in table
    assert "× the throughput" in table
    assert (tmp_path / "inference" / "inference.md").read_text() == table
    for way in ("bundle", "stock"):
        files = sorted((tmp_path / "inference" / way).glob("*_seg.nii.gz"))
        assert [file.name for file in files] == [f"case{number:04d}_seg.nii.gz" for number in range(5)]
        image = nib.load(tmp_path / "inference" / "images" / "case0004.nii.gz")
        found = nib.load(files[4])
        assert found.shape == image.shape
        np.testing.assert_allclose(found.affine, image.affine, atol=1e-4)


def test_a_run_that_fails_is_told(tmp_path):
    (tmp_path / "model.pt").write_text("hello")
    with pytest.raises(InputError, match=r"bundle: expected segmentations, the run failed \(.*model\.pt"):
        inference_benchmark(2, (16, 16, 2), str(tmp_path), ckpt_path=str(tmp_path / "model.pt"))


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


def test_the_wide_copy_shows_the_same_head_in_noisy_air(tmp_path):
    write_copies(tmp_path)
    head, wide = (nib.load(tmp_path / f"head_{kind}.nii.gz") for kind in ("2mm", "2mm_wide"))
    assert min(np.array(wide.shape[:2]) * 2) >= 420 and wide.shape[2] == head.shape[2]
    mask, wide_mask = (nib.load(tmp_path / f"brain_mask_{kind}.nii.gz") for kind in ("2mm", "2mm_wide"))
    places = [
        i.affine[:3, :3] @ np.argwhere(np.asanyarray(i.dataobj)).T + i.affine[:3, 3:]
        for i in (mask, wide_mask)
    ]
    np.testing.assert_array_equal(*places)
    air = np.asanyarray(wide.dataobj)[:20, :20]
    assert 0 < air.mean() < 0.06 * np.asanyarray(head.dataobj).max() and air.std() > 0
