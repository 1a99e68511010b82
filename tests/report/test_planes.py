from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from shared_components.errors import InputError
from shared_components.report.planes import load_planes


def save(path, voxels, affine) -> str:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return str(path)


def test_planes_cross_what_is_labelled_with_the_front_up(tmp_path):
    voxels = np.zeros((10, 12, 20), np.float32)
    voxels[:, -2:] = 1  # the front in RAS
    labels = np.zeros((10, 12, 20), np.uint8)
    labels[4:6, 4:6, 8:15] = 1
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])  # the same scene, axes to the left and the back
    for name, turn, affine in (("ras", slice(None), np.eye(4)), ("lps", slice(None, None, -1), flip)):
        image = save(tmp_path / f"{name}.nii", voxels[turn, turn], affine)
        label = save(tmp_path / f"{name}_l.nii", labels[turn, turn], affine)
        planes = load_planes(image, label, {"ours": label}, count=3)
        assert planes.image.shape == (3, 12, 10)
        assert planes.image[:, :2].min() == 1
        assert planes.image[:, 2:].max() == 0
        assert planes.reference.any(axis=(1, 2)).all()
        assert np.array_equal(planes.reference, planes.predictions["ours"])
        assert planes.aspect == 1


def test_thick_slices_are_seen_as_they_were_taken(tmp_path):
    image = save(tmp_path / "sagittal.nii", np.ones((4, 12, 10), np.float32), np.diag([5.0, 1.0, 2.0, 1.0]))
    planes = load_planes(image, None, {}, count=2)
    assert planes.image.shape == (2, 10, 12)
    assert planes.reference is None
    assert planes.aspect == 2


def test_another_grid_or_no_file_is_named(tmp_path):
    image = save(tmp_path / "image.nii", np.ones((4, 5, 6), np.float32), np.eye(4))
    other = save(tmp_path / "other.nii", np.ones((4, 5, 7), np.uint8), np.eye(4))
    with pytest.raises(InputError, match=r"other\.nii: expected the grid of its image"):
        load_planes(image, None, {"ours": other})
    with pytest.raises(InputError, match=r"none\.nii: expected a volume, found no file"):
        load_planes(image, tmp_path / "none.nii", {})
