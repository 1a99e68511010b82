from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Invertd
from scipy.spatial.transform import Rotation

from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError

ROTATION = Rotation.from_euler("xyz", [10, -15, 25], degrees=True).as_matrix()
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = ROTATION @ np.diag([1.5, 2.0, 4.0])
OBLIQUE[:3, 3] = (-20, 11, 4)
SHEARED = OBLIQUE.copy()
SHEARED[:3, 2] += 0.3 * OBLIQUE[:3, 1]  # gantry tilt
AFFINES = {
    "ras": np.diag([2.0, 2.0, 3.0, 1.0]),
    "lps": np.diag([-2.0, -2.0, 3.0, 1.0]),
    "oblique": OBLIQUE,
    "sheared": SHEARED,
}


def blob(shape=(30, 34, 9)) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    return ((grid[0] / 0.6) ** 2 + (grid[1] / 0.5) ** 2 + (grid[2] / 0.9) ** 2 < 1).astype(np.uint8)


@pytest.fixture
def item(tmp_path, save_image):
    def make(affine, label=None):
        label = blob() if label is None else label
        image = label * 50.0 + np.random.default_rng(0).normal(100, 5, label.shape)
        return {
            "image": save_image(tmp_path / "s.nii.gz", image.astype(np.float32), affine),
            "label": save_image(tmp_path / "l.nii.gz", label, affine),
        }

    return make


@pytest.mark.parametrize("orientation", ["RAS", "native", "ASR"])
@pytest.mark.parametrize("name", AFFINES)
def test_a_prediction_returns_to_the_inputs_own_grid(item, name, orientation):
    paths = item(AFFINES[name])
    transform = volume_transforms(("image", "label"), 32, 2.5, orientation)
    data = transform(paths)
    assert data["image"].shape[:3] == data["label"].shape[:3] == (1, 32, 32)
    data["pred"] = data["label"].clone()
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=True)(data)["pred"]
    truth = nibabel.load(paths["label"])
    mask, wanted = back[0].numpy() > 0.5, truth.get_fdata() > 0
    assert mask.shape == truth.shape
    assert np.allclose(back.affine.numpy(), truth.affine, atol=1e-5)
    assert 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum()) > 0.85


def test_prediction_of_an_image_alone_can_be_inverted(item):
    paths = item(OBLIQUE)
    transform = volume_transforms(("image",), 24, 3.0)
    data = transform({"image": paths["image"]})
    data["pred"] = torch.ones_like(data["image"])
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=True)(data)["pred"]
    assert back.shape == (1, 30, 34, 9)
    assert back.max() == 1


@pytest.mark.parametrize("name", AFFINES)
def test_native_slices_are_those_of_the_file(item, name):
    label = np.zeros((30, 34, 9), np.uint8)
    label[:, :, 4] = 1
    sliced = volume_transforms(("label", "image"), 40, 2.5, "native")(item(AFFINES[name], label))["label"]
    assert sliced.shape[-1] == 9
    assert [bool(sliced[..., i].any()) for i in range(9)] == [i == 4 for i in range(9)]


def test_the_same_volume_stored_ras_or_lps_gives_the_same_slices(tmp_path, save_image):
    array = np.random.default_rng(1).normal(size=(20, 22, 5)).astype(np.float32)
    stored = nibabel.Nifti1Image(array, AFFINES["ras"])
    lps = stored.as_reoriented([[0, -1], [1, -1], [2, 1]])
    nibabel.save(stored, tmp_path / "ras.nii.gz")
    nibabel.save(lps, tmp_path / "lps.nii.gz")
    transform = volume_transforms(("image",), 16, 3.0)
    ras, lps = (transform({"image": tmp_path / f"{name}.nii.gz"})["image"] for name in ("ras", "lps"))
    assert torch.equal(ras.as_tensor(), lps.as_tensor())


def test_the_last_letter_of_the_orientation_is_the_slice_axis(tmp_path, save_image):
    ramp = np.broadcast_to(np.arange(6.0, dtype=np.float32)[:, None, None], (6, 8, 10)).copy()
    path = save_image(tmp_path / "ramp.nii", ramp, np.eye(4))  # grows from left to right
    sagittal = volume_transforms(("image",), 12, None, "ASR", (0, 100), crop=False)({"image": path})["image"]
    assert sagittal.shape == (1, 8, 10, 6)
    assert torch.allclose(sagittal[0, 0, 0].as_tensor(), torch.linspace(-1, 1, 6), atol=1e-6)


def test_intensities_are_clipped_at_the_percentiles_and_padded_with_minus_one(item):
    data = volume_transforms(("image", "label"), 64, None, percentiles=(5, 95))(item(AFFINES["ras"]))
    image = data["image"].as_tensor()
    assert image.min() == -1
    assert image.max() == 1
    assert image.dtype == torch.float32
    assert (image[:, :8] == -1).all()
    assert (data["label"][:, :8] == 0).all()
    inside = image[0, 17:47, 15:49]
    assert 0.04 < (inside == 1).float().mean() < 0.06
    assert 0.04 < (inside == -1).float().mean() < 0.06


def test_a_two_dimensional_image_is_a_volume_of_one_slice(tmp_path, save_image):
    flat = np.random.default_rng(2).normal(size=(20, 24)).astype(np.float32)
    path = save_image(tmp_path / "retina.nii.gz", flat, AFFINES["lps"])
    assert volume_transforms(("image",), 16, 3.0)({"image": path})["image"].shape == (1, 16, 16, 1)


def test_an_item_without_a_label_passes(item):
    paths = item(OBLIQUE)
    assert set(volume_transforms(("image", "label"), 16, 2.0)({"image": paths["image"]})) == {"image"}


@pytest.mark.parametrize("orientation", ["RAP", "XYZ", "RA", "RASS", ""])
def test_a_wrong_orientation_is_refused(orientation):
    with pytest.raises(InputError, match="one letter each of R/L, A/P and S/I"):
        volume_transforms(("image",), 16, 2.0, orientation)


@pytest.mark.parametrize("spacing", [0, -1.0, (1.0, 2.0, 3.0), (1.0, 0.0)])
def test_a_wrong_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="one or two positive numbers"):
        volume_transforms(("image",), 16, spacing)
