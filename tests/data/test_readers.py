"""The same volume in every format lies at the same place in space and gives the same slices."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch
from monai.transforms import LoadImage
from PIL import Image
from scipy.spatial.transform import Rotation

from shared_components.data.image_loader import LoadVolume
from shared_components.data.volume_check import load_volume
from shared_components.data.volumes import volume_transforms

SHAPE = (14, 12, 5)
LPS = np.diag([-2.0, -2.0, 3.0, 1.0])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix() @ np.diag(
    [2.0, 2.0, 3.0]
)
OBLIQUE[:3, 3] = (5, -7, 11)


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(0, 500, SHAPE).astype(np.int16)


@pytest.fixture
def write(save_image, save_itk, save_dicom):
    def writer(folder, kind, array, affine):
        if kind == "dicom":
            return save_dicom(folder / "series", array, affine)
        save = save_image if kind.startswith("nii") else save_itk
        return save(folder / f"image.{kind}", array, affine)

    return writer


@pytest.mark.parametrize("affine", [LPS, OBLIQUE], ids=["lps", "oblique"])
@pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd", "mha", "mhd", "dicom"])
def test_each_format_gives_the_voxels_and_the_ras_affine(tmp_path, write, volume, kind, affine):
    image = LoadImage(ensure_channel_first=True)(write(tmp_path, kind, volume, affine))
    assert np.array_equal(image[0].numpy(), volume)
    assert np.allclose(image.affine.numpy(), affine, atol=1e-3)


@pytest.mark.parametrize("kind", ["mha", "mhd", "gipl", "npz"])
def test_endings_in_capitals_are_read_as_those_in_small_letters(tmp_path, save_itk, volume, kind):
    file = tmp_path / f"image.{kind}"
    np.savez(file, volume) if kind == "npz" else save_itk(file, volume, LPS)
    expected = LoadVolume()(file)
    found = LoadVolume()(file.rename(file.with_suffix(f".{kind.upper()}")))
    assert np.array_equal(expected[0], volume) and np.array_equal(found, expected)
    assert np.array_equal(found.affine, expected.affine)


def test_damaged_archives_of_arrays_are_told_in_one_line(tmp_path, volume):
    np.savez(tmp_path / "none.npz")
    np.savez(tmp_path / "whole.npz", volume)
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[:1000])
    (tmp_path / "flipped.npz").write_bytes(content[:999] + bytes([content[999] ^ 1]) + content[1000:])
    told = {name: str(*load_volume(tmp_path / f"{name}.npz")[1]) for name in ("none", "cut", "flipped")}
    assert "none.npz: not an image that can be read (list index out of range); copy" in told["none"]
    assert "cut.npz: not an image that can be read (File is not a zip file); copy" in told["cut"]
    assert "flipped.npz: is damaged (its checksum does not fit); copy it again" in told["flipped"]


def array_of(shape) -> bytes:
    """An array's file of 64 numbers whose header states a shape."""
    header = io.BytesIO()
    stated = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, stated)
    return header.getvalue() + bytes(512)


def test_files_that_promise_more_than_memory_holds_are_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "huge.npy").write_bytes(array_of((10**7, 10**6, 1)))
    (tmp_path / "endless.npy").write_bytes(array_of((10**30,)))
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("a.npy", array_of((10**7, 10**6, 1)))
    Image.new("1", (5, 6)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    told = {file.name: str(*load_volume(file)[1]) for file in tmp_path.iterdir()}
    assert "huge.npy: unreadable: it ends too early (mmap length is greater" in told["huge.npy"]
    assert "endless.npy: not an image that can be read (Python int too large" in told["endless.npy"]
    assert "huge.npz: does not fit into memory (Unable to allocate 72.8 TiB" in told["huge.npz"]
    assert "bomb.png: not an image that can be read (Image size (30 pixels) exceeds" in told["bomb.png"]
    assert all("\n" not in line for line in told.values())


@pytest.mark.parametrize("kind", ["nrrd", "mha", "dicom"])
def test_a_label_in_another_format_lies_on_its_image(tmp_path, write, save_image, volume, kind):
    label = (volume > 250).astype(np.uint8)
    item = {
        "image": write(tmp_path, kind, volume, OBLIQUE),
        "label": save_image(tmp_path / "label.nii.gz", label, OBLIQUE),
    }
    sliced = volume_transforms(("image", "label"), 16, None)(item)
    bright = sliced["image"] > sliced["image"][sliced["label"] == 0].max()
    assert torch.equal(bright.float(), sliced["label"])


def test_every_format_gives_the_same_slices(tmp_path, write, volume):
    transform = volume_transforms(("image",), 16, 2.5)
    slices = [
        transform({"image": write(tmp_path / kind, kind, volume, OBLIQUE)})["image"].as_tensor()
        for kind in ("nii.gz", "nrrd", "mha", "dicom")
    ]
    assert slices[0].shape == (1, 16, 16, 5)
    for other in slices[1:]:
        assert torch.allclose(other, slices[0], atol=1e-3)


def test_a_single_dicom_file_and_a_grey_picture_are_one_slice(tmp_path, save_dicom, volume):
    series = save_dicom(tmp_path / "series", volume, LPS)
    transform = volume_transforms(("image",), 16, None)
    assert transform({"image": series / "1.2.3.4_003.dcm"})["image"].shape == (1, 16, 16, 1)
    picture = tmp_path / "retina.png"
    Image.fromarray((volume[:, :, 0] // 2).astype(np.uint8)).save(picture)
    assert transform({"image": picture})["image"].shape == (1, 16, 16, 1)


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "png"), ("RGBA", "png"), ("LA", "png"), ("RGB", "bmp")])
def test_a_grey_picture_saved_in_colours_is_read_as_grey(mode, suffix, tmp_path, volume):
    grey = Image.fromarray((volume[:, :, 0] // 2).astype(np.uint8))
    grey.save(tmp_path / "grey.png")
    grey.convert(mode).save(tmp_path / f"colours.{suffix}")
    plain, coloured = (LoadVolume()(tmp_path / name) for name in ("grey.png", f"colours.{suffix}"))
    assert torch.equal(coloured.as_tensor(), plain.as_tensor()) and torch.equal(coloured.affine, plain.affine)
    assert coloured.meta["format"] == suffix.upper()


def test_pictures_with_colours_or_shades_of_opacity_keep_all_channels(tmp_path):
    grey = np.zeros((5, 6, 1), np.uint8)
    clear = np.concatenate([grey, np.arange(30, dtype=np.uint8).reshape(5, 6, 1)], axis=-1)
    Image.fromarray(clear, "LA").save(tmp_path / "clear.png")
    assert LoadVolume()(tmp_path / "clear.png").shape == (2, 6, 5)
    Image.fromarray(np.concatenate([grey, grey, grey + 1], axis=-1)).save(tmp_path / "blue.png")
    assert LoadVolume()(tmp_path / "blue.png").shape == (3, 6, 5)
