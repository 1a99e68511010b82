from __future__ import annotations

import nibabel
import numpy as np
import pytest

from shared_components.data.frames import split_frames
from shared_components.data.volume_check import check_image
from shared_components.errors import InputError

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])
AFFINE[:3, 3] = (5, 6, 7)


def test_each_frame_becomes_a_volume_that_passes_the_check(tmp_path, save_image):
    series = np.random.default_rng(0).integers(0, 99, (6, 5, 4, 3)).astype(np.int16)
    files = split_frames(save_image(tmp_path / "cine.nii.gz", series, AFFINE))
    assert [file.name for file in files] == ["cine_t00.nii.gz", "cine_t01.nii.gz", "cine_t02.nii.gz"]
    for t, file in enumerate(files):
        frame = nibabel.load(file)
        assert np.array_equal(frame.get_fdata(), series[..., t])
        assert frame.get_data_dtype() == np.int16
        assert np.allclose(frame.affine, AFFINE)
        assert check_image(file)[1] == []


def test_another_folder_may_be_named(tmp_path, save_image):
    series = save_image(tmp_path / "cine.nii", np.random.default_rng(0).random((6, 5, 4, 2), np.float32))
    assert split_frames(series, tmp_path / "frames")[0] == tmp_path / "frames/cine_t00.nii.gz"


def test_nothing_is_overwritten(tmp_path, save_image):
    series = save_image(tmp_path / "cine.nii", np.random.default_rng(0).random((6, 5, 4, 2), np.float32))
    (tmp_path / "cine_t01.nii.gz").write_text("mine")
    with pytest.raises(InputError, match=r"cine_t01\.nii\.gz: is there already"):
        split_frames(series)
    assert not (tmp_path / "cine_t00.nii.gz").exists()


def test_a_volume_and_a_text_are_refused(tmp_path, save_image):
    volume = save_image(tmp_path / "one.nii.gz", np.ones((6, 5, 4), np.float32))
    with pytest.raises(InputError, match="expected a 4-D image, found 6×5×4 voxels"):
        split_frames(volume)
    (tmp_path / "text.nii.gz").write_text("text")
    with pytest.raises(InputError, match=r"text\.nii\.gz: not an image that can be read"):
        split_frames(tmp_path / "text.nii.gz")
