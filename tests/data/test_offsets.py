from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from shared_components.data.frames import LoadImageFramed
from shared_components.data.offsets import without_offset
from shared_components.data.volume_check import check_image

NUMBERS = np.random.default_rng(0).permutation(16 * 14 * 5).reshape(16, 14, 5)


@pytest.mark.parametrize(
    "voxels",
    [
        NUMBERS * 1e-4 + 1e6,
        NUMBERS * 1e-4 - 1e6,
        (NUMBERS * 1e-4 + 1e6).astype(">f8"),
        NUMBERS + 2**40,
        (NUMBERS + 2**31).astype(np.uint32),
        (NUMBERS - 2**31).astype(np.int32),
        np.where(NUMBERS > 9, NUMBERS * 1e-4 + 1e6, np.nan),
    ],
)
def test_values_that_float32_would_merge_keep_their_differences(voxels):
    found = without_offset(voxels).astype(np.float32)
    known = ~np.isnan(found)
    assert found[known].min() == 0
    assert len(np.unique(found[known])) == len(np.unique(voxels[known]))
    np.testing.assert_allclose(found, voxels - np.nanmin(voxels), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "voxels",
    [
        NUMBERS * 1e-4,
        NUMBERS * 1e-4 + 1,  # float32 has 800 000 steps there
        (NUMBERS % 3) + 1_000_000.0,  # few steps, but exact
        NUMBERS + 2**20,
        NUMBERS % 2 * 2**40,
        np.full((4, 4, 2), 1e6 + 1e-4),
        np.full((4, 4, 2), np.nan),
        np.where(NUMBERS > 9, NUMBERS * 1e-4 + 1e6, np.inf),
        1e30 * (1 + NUMBERS * 1e-12),
        (NUMBERS * 1e-4 + 1e6).astype(np.float32),
        NUMBERS.astype(np.int16),
        NUMBERS > 4,
        np.zeros((0, 4, 2)),
    ],
)
def test_all_other_values_stay(voxels):
    assert without_offset(voxels) is voxels


def save(path: Path, voxels: np.ndarray) -> Path:
    if path.suffix == ".mha":
        itk.imwrite(itk.image_from_array(voxels), str(path))
    elif path.suffix == ".npy":
        np.save(path, voxels)
    else:
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.npy"])
def test_no_image_is_called_constant_that_is_not(tmp_path, name):
    image, faults = check_image(save(tmp_path / name, NUMBERS * 1e-4 + 1e6))
    assert faults == [] and len(image.unique()) == NUMBERS.size


def test_a_frame_is_read_so_too(tmp_path):
    series = save(tmp_path / "a.nii", np.stack([NUMBERS, NUMBERS * 1e-4 + 1e6], axis=-1))
    image = LoadImageFramed(("image",))({"image": str(series), "frame": 1})["image"]
    assert len(image.unique()) == NUMBERS.size
