from __future__ import annotations

import tracemalloc

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose

from shared_components.data.faults import read
from shared_components.data.frames import LoadImageFramed, frame_count, split_frames
from shared_components.data.volume_check import check_image
from shared_components.data.volumes import volume_transforms
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


@pytest.mark.parametrize("dtype", ["int64", "uint64", "uint32", ">i2", ">f4", "float64", "int8"])
def test_frames_of_any_type_and_byte_order_are_written(tmp_path, dtype):
    series = (np.arange(360) % 120).reshape(6, 5, 4, 3).astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(series, AFFINE, header), tmp_path / "cine.nii.gz")
    for t, file in enumerate(split_frames(tmp_path / "cine.nii.gz")):
        assert np.array_equal(nibabel.load(file).get_fdata(), series[..., t])
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
    cut = save_image(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((9, 9, 4, 3)))
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.nii\.gz: unreadable: it ends too early"):
        split_frames(cut, tmp_path / "frames")
    assert not (tmp_path / "frames").exists()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 5), 1), ((6, 5, 4), 1), ((6, 5, 4, 1), 1), ((6, 5, 1, 7), 7), ((6, 5, 4, 3, 1), 3)],
)
def test_frames_are_counted_from_the_header(tmp_path, save_image, shape, expected):
    assert frame_count(save_image(tmp_path / "image.nii.gz", np.zeros(shape, np.int16))) == expected
    assert frame_count(tmp_path / "absent.nrrd") == 1


def test_more_axes_than_those_of_a_series_are_refused(tmp_path, save_image):
    field = save_image(tmp_path / "field.nii", np.zeros((6, 5, 4, 1, 3), np.float32))
    with pytest.raises(
        InputError, match=r"field\.nii: expected a 3-D volume or a 4-D time series, found shape"
    ):
        frame_count(field)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 1, 0)])
def test_a_frame_of_a_series_is_prepared_as_its_own_file_would_be(tmp_path, save_image, suffix, order):
    random = np.random.default_rng(0)
    series = random.normal(100, 20, (18, 15, 4, 3)).astype(np.float32) * [1, 2, 5]  # unlike percentiles
    path = save_image(tmp_path / f"cine{suffix}", series.astype(np.int16), AFFINE)
    files = split_frames(path, tmp_path / "frames")
    transform = volume_transforms(("image",), 16, 2.5, crop=False)
    for t in order:
        frame = transform({"image": str(path), "frame": t})["image"]
        alone = transform({"image": str(files[t])})["image"]
        assert torch.equal(frame.as_tensor(), alone.as_tensor())
        assert torch.equal(frame.affine, alone.affine)
        assert frame.meta["filename_or_obj"] == str(path)
        assert (frame.min(), frame.max()) == (-1, 1)


def test_frames_carry_the_slope_and_the_affine_of_their_series(tmp_path):
    image = nibabel.Nifti1Image(np.arange(48, dtype=np.int16).reshape(4, 3, 2, 2), AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, tmp_path / "cine.nii.gz")
    expected = nibabel.load(tmp_path / "cine.nii.gz").get_fdata()
    found = LoadImageFramed("image")({"image": str(tmp_path / "cine.nii.gz"), "frame": 1})["image"]
    np.testing.assert_allclose(found.numpy(), expected[..., 1], atol=1e-4)
    assert np.allclose(found.affine, AFFINE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_one_frame_at_a_time_is_in_memory(tmp_path, save_image, suffix):
    frames = 24
    path = save_image(tmp_path / f"cine{suffix}", np.ones((64, 64, 8, frames), np.int16))
    loader = LoadImageFramed("image", ensure_channel_first=True, dtype=np.float32)
    loader({"image": str(path), "frame": 0})  # what is imported or cached on first use
    tracemalloc.start()
    for t in range(frames):
        assert loader({"image": str(path), "frame": t})["image"].shape == (1, 64, 64, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < frames * 64 * 64 * 8 * 2 / 2  # bytes: half of the series as it is stored


def test_a_series_cut_short_is_named(tmp_path, save_image):
    path = save_image(tmp_path / "cine.nii.gz", np.random.default_rng(0).random((20, 20, 8, 4)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    load = Compose([LoadImageFramed("image")])
    read(load, {"image": str(path), "frame": 0})
    with pytest.raises(InputError, match=r"cine\.nii\.gz: could not be read"):
        read(load, {"image": str(path), "frame": 3})
