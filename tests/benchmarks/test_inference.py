from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from shared_components.benchmarks.inference import inference_benchmark
from shared_components.errors import InputError


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
