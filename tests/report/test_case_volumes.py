from __future__ import annotations

import itk
import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from shared_components.data.image_loader import LoadVolume, stored_grid
from shared_components.errors import InputError
from shared_components.report.case_volumes import load_case, measure, read_volume
from shared_components.report.overlays import orthogonal, orthogonal_uri


def save(path, voxels, affine=None) -> str:
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return str(path)


def test_axes_run_to_the_right_the_front_and_the_top(tmp_path):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    plain, size = read_volume(save(tmp_path / "ras.nii", voxels, np.diag([1, 2, 3, 1.0])))
    turned, _ = read_volume(save(tmp_path / "lps.nii", voxels[::-1, ::-1], np.diag([-1, -2, 3, 1.0])))
    assert plain.shape == (1, 2, 3, 4) and np.array_equal(plain[0], voxels) and np.array_equal(plain, turned)
    assert size.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "expected"), [((4, 5), (1, 4, 5, 1)), ((4, 5, 1), (1, 4, 5, 1)), ((4, 5, 6, 3), (3, 4, 5, 6))]
)
def test_slices_and_time_series_have_all_axes(tmp_path, shape, expected):
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found, size = read_volume(save(tmp_path / "v.nii.gz", voxels))
    assert found.shape == expected and size.shape == (3,)
    assert np.array_equal(np.moveaxis(found, 0, -1).reshape(shape), voxels)


def test_a_picture_is_shown_as_one_looks_at_it(tmp_path):
    """Rows from the top, columns from the left; where it lies in a body, it does not say."""
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(pixels).save(tmp_path / "retina.png")
    seen = LoadVolume()(tmp_path / "retina.png")
    labels = (seen[0].numpy() > 8).astype(np.uint8)[..., None]
    case = load_case(
        tmp_path / "retina.png", None, {"ours": save(tmp_path / "s.nii", labels, seen.affine.numpy())}
    )
    assert not case.placed
    assert np.array_equal(np.rot90(case.image[0, :, :, 0]), pixels)
    assert np.array_equal(np.rot90(case.predictions["ours"][0, :, :, 0]), pixels > 8)
    (view,) = orthogonal(case, 0)
    assert (view.name, view.sides) == ("", ())
    assert np.array_equal(view.planes.image[0], pixels)
    assert orthogonal_uri([view], [1])


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".tif"])
def test_a_slice_of_itks_formats_lies_on_the_grid_of_its_segmentation(tmp_path, suffix):
    image = itk.image_from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))
    image.SetSpacing((2.0, 3.0))
    itk.imwrite(image, str(tmp_path / f"slice{suffix}"))
    shape, affine = stored_grid(tmp_path / f"slice{suffix}")
    labels = save(tmp_path / "s.nii", np.ones((*shape, 1), np.uint8)[:, :, :1], affine)
    case = load_case(tmp_path / f"slice{suffix}", None, {"ours": labels})
    assert case.image.shape == case.predictions["ours"].shape == (1, 4, 3, 1)
    assert case.size[:2] == pytest.approx([2, 3]) and np.array_equal(np.unique(case.image), np.arange(12))


def test_a_picture_lies_where_itk_takes_it_to_lie(tmp_path):
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "retina.png")
    ours, itks = LoadVolume()(tmp_path / "retina.png"), LoadImage(reader="ITKReader")(tmp_path / "retina.png")
    assert np.array_equal(ours[0], itks)
    assert np.array_equal(ours.affine[:2, :2], itks.affine[:2, :2]) and ours.affine[:2, 3].abs().max() == 0


def test_a_case_without_image_lies_on_black(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 3] = 2
    case = load_case(None, None, {"ours": save(tmp_path / "s.nii", labels)})
    assert case.image.shape == (1, 4, 5, 6) and not case.image.any()
    assert case.predictions["ours"].sum() == 2 and case.labelled().sum() == 1


def test_another_grid_no_file_or_a_damaged_one_is_named(tmp_path):
    image = save(tmp_path / "image.nii", np.ones((4, 5, 6), np.float32))
    other = save(tmp_path / "other.nii", np.ones((4, 5, 7), np.uint8))
    with pytest.raises(
        InputError, match=r"other\.nii: expected the grid of its image .*: has 4×5×7 voxels, expected 4×5×6"
    ):
        load_case(image, None, {"ours": other})
    with pytest.raises(InputError, match=r"none\.nii: expected a volume, found no file"):
        load_case(image, tmp_path / "none.nii", {})
    (tmp_path / "bad.nii.gz").write_text("no volume")
    with pytest.raises(InputError, match=r"bad\.nii\.gz: expected a volume, cannot read it"):
        load_case(tmp_path / "bad.nii.gz", None, {})
    with pytest.raises(InputError, match="expected an image or a segmentation, found neither"):
        load_case(None, None, {})


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
