"""Units, ones at the end, Analyze's orientation, and files of the family that hold no volume."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.transforms import LoadImage

from shared_components.data.nifti import NiftiReader, open_nifti, portable, volume_shape, world_affine
from shared_components.data.volume_faults import file_faults
from shared_components.errors import InputError

AFFINE = np.array([[-2, 0.1, 0, 17], [0.1, 2, 0, -9], [0, 0, 3, 4], [0, 0, 0, 1.0]])
VOXELS = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)


def read(path: Path):
    return LoadImage(ensure_channel_first=True)(path, NiftiReader())


@pytest.mark.parametrize(("unit", "length"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1), ("unknown", 1)])
def test_sizes_are_in_the_headers_unit(tmp_path, unit, length):
    affine = AFFINE.copy()
    affine[:3] *= length
    image = nibabel.Nifti1Image(VOXELS, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read(tmp_path / "a.nii.gz").affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(world_affine(open_nifti(tmp_path / "a.nii.gz")), AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "read_as"),
    [
        ((5, 4, 3, 1), (1, 5, 4, 3)),
        ((5, 4, 3, 1, 1), (1, 5, 4, 3)),
        ((5, 4, 1, 1, 1), (1, 5, 4, 1)),
        ((5, 4), (1, 5, 4)),
        ((5, 4, 1, 3), (3, 5, 4, 1)),
        ((5, 4, 3, 1, 1, 1, 1), (1, 5, 4, 3)),
    ],
)
def test_ones_after_the_third_axis_do_not_count(tmp_path, shape, read_as):
    voxels = VOXELS.reshape(-1)[: np.prod(shape)].reshape(shape)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii")
    image = read(tmp_path / "a.nii")
    assert tuple(image.shape) == read_as
    frames = np.moveaxis(voxels, 3, 0) if read_as[0] > 1 else voxels.reshape(read_as)
    np.testing.assert_array_equal(image.numpy(), frames)
    assert volume_shape((5, 4, 3, 2, 1)) == (5, 4, 3, 2)


@pytest.mark.parametrize("kind", [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.Nifti1Pair])
@pytest.mark.parametrize("suffix", [".hdr", ".img"])
def test_analyze_lies_where_nibabel_puts_it(tmp_path, kind, suffix):
    affine = np.diag([-2.0, 2, 3, 1]) if kind is nibabel.AnalyzeImage else AFFINE
    nibabel.save(kind(VOXELS, affine), tmp_path / "a.img")
    image = read(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(image.affine, nibabel.load(tmp_path / "a.hdr").affine)
    np.testing.assert_array_equal(image.numpy()[0], VOXELS)
    assert nibabel.aff2axcodes(image.affine.numpy()) == ("L", "A", "S")


def test_a_file_without_a_volume_is_refused_in_one_line(tmp_path):
    brain = nibabel.cifti2.BrainModelAxis.from_mask(
        np.ones((3, 3, 3), bool), affine=np.eye(4), name="thalamus_left"
    )
    axes = (nibabel.cifti2.ScalarAxis(["a", "b"]), brain)
    nibabel.save(nibabel.cifti2.Cifti2Image(np.ones((2, 27), np.float32), axes), tmp_path / "x.dscalar.nii")
    with pytest.raises(InputError, match=r"x\.dscalar\.nii: a Cifti2 file, which holds no volume; [^\n]+$"):
        open_nifti(tmp_path / "x.dscalar.nii")


def test_a_unit_that_cannot_be_is_named(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, np.diag([2000.0, 2000, 3000, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    (fault,) = map(str, file_faults(tmp_path / "a.nii"))
    assert fault.endswith(
        "a.nii: would be 1e+04 m long (voxels of 2e+06×2e+06×3e+06 mm) by its header's unit, metres; "
        "correct the header or export it again"
    )


def test_a_unit_of_time_that_does_not_exist_is_nobodys_business(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, np.diag([2000.0, 2000, 3000, 1]))
    image.header["xyzt_units"] = 3 + 64  # micrometres, and a bit that means nothing
    nibabel.save(image, tmp_path / "a.nii")
    assert list(file_faults(tmp_path / "a.nii")) == []
    np.testing.assert_allclose(np.diag(read(tmp_path / "a.nii").affine), [2, 2, 3, 1])


@pytest.mark.parametrize(
    ("dtype", "largest", "kept"),
    [
        ("int64", 7, "int32"), ("int64", 2**40, "float32"), ("uint32", 7, "int32"), ("uint32", 2**32 - 1, "float32"),
        ("uint64", 2**64 - 1, "float32"), (">i2", 7, "int16"), ("uint8", 7, "uint8"), ("float64", 0.5, "float32"),
    ],
)  # fmt: skip
def test_voxels_become_of_a_type_that_all_readers_know(dtype, largest, kept):
    made = portable(np.array([0, largest], dtype))
    assert made.dtype == np.dtype(kept) and made.dtype.isnative
    assert made[1] == pytest.approx(largest)
