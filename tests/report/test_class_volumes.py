from __future__ import annotations

import itk
import nibabel as nib
import numpy as np
import pytest

from shared_components.errors import InputError
from shared_components.report.class_volumes import frames_uri, measure
from tests.report.pixels import pixels


def labels(*shape: int) -> np.ndarray:
    voxels = np.zeros(shape, np.uint8)
    voxels[0], voxels[1, 0] = 1, 2
    return voxels


def test_millilitres_of_each_class(tmp_path):
    nib.save(nib.Nifti1Image(labels(4, 5, 6), np.diag([2, -2, 5, 1.0])), tmp_path / "s.nii.gz")
    found = measure(tmp_path / "s.nii.gz", [1, 2, 7])
    assert found.shape == (4, 5, 6) and found.size == (2, 2, 5)
    assert found.millilitres == pytest.approx(np.array([[30 * 0.02, 6 * 0.02, 0]]))


def test_a_voxel_of_a_sheared_grid_holds_less_than_the_product_of_its_edges(tmp_path):
    affine = np.array([[1.0, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(labels(4, 5, 6), affine), tmp_path / "s.nii")
    assert measure(tmp_path / "s.nii", [1]).millilitres == pytest.approx(np.array([[0.03]]))


def test_every_frame_of_a_time_series(tmp_path):
    voxels = np.stack([labels(4, 5, 6), np.zeros((4, 5, 6), np.uint8)], axis=-1)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "s.nii")
    found = measure(tmp_path / "s.nii", [1])
    assert found.shape == (4, 5, 6, 2) and found.millilitres == pytest.approx(np.array([[0.03], [0]]))


def test_other_formats_and_slices(tmp_path):
    image = itk.image_from_array(labels(4, 5, 6))
    image.SetSpacing([1, 2, 3])
    itk.imwrite(image, str(tmp_path / "s.nrrd"))
    assert measure(tmp_path / "s.nrrd", [1]).millilitres == pytest.approx(np.array([[30 * 0.006]]))
    nib.save(nib.Nifti1Image(labels(4, 5), np.eye(4)), tmp_path / "slice.nii")
    assert measure(tmp_path / "slice.nii", [1]).millilitres == pytest.approx(np.array([[0.005]]))


def test_no_file_or_a_damaged_one_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.nii: expected a segmentation, found no file"):
        measure(tmp_path / "none.nii", [1])
    (tmp_path / "bad.nii.gz").write_text("no volume")
    with pytest.raises(InputError, match=r"bad\.nii\.gz: expected a segmentation, cannot read it"):
        measure(tmp_path / "bad.nii.gz", [1])


def test_curves_have_the_colours_of_the_outlines():
    image = pixels(frames_uri(np.array([[5.0, 9.0], [3.0, 8.0], [5.0, 9.0]]), ["a", "b"]))
    for colour in ((0xF5, 0x9E, 0x0B), (0xE8, 0x79, 0xF9)):
        assert (np.abs(image[..., :3] - colour).max(axis=-1) < 30).mean() > 1e-4
