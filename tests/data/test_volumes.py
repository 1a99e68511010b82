from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from scipy.spatial.transform import Rotation

from shared_components.data.phantoms.cardiac import client_cases, clients, render
from shared_components.data.volumes import NATIVE, NativeOrientationd, native_axes, volume_transforms
from shared_components.errors import InputError
from shared_components.inferers.case_dataset import inference_transforms
from shared_components.inferers.file_grid import label_map

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


HEART = Rotation.from_euler("zx", [45, 60], degrees=True).as_matrix()  # slices across no axis of the body


def stored_otherwise(image: nibabel.Nifti1Image):
    """The same volume with its in-plane axes flipped and swapped and its slices in either order: 16 files."""
    for swap, *signs in itertools.product((False, True), (1, -1), (1, -1), (1, -1)):
        order = [1, 0, 2] if swap else [0, 1, 2]
        yield image.as_reoriented([[axis, sign] for axis, sign in zip(order, signs, strict=True)])


@pytest.mark.parametrize("turn", [np.eye(3), np.eye(3)[[2, 0, 1]], np.eye(3)[:, [0, 2, 1]], HEART])
def test_the_same_volume_gives_the_same_slices_however_its_axes_run(tmp_path, turn):
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2.0, 2.5, 6.0])
    voxels = np.random.default_rng(0).normal(size=(20, 22, 5)).astype(np.float32)
    transform = volume_transforms(("image",), 16, 3.0, "native")
    seen = []
    for image in stored_otherwise(nibabel.Nifti1Image(voxels, affine)):
        nibabel.save(image, tmp_path / "v.nii.gz")
        data = transform({"image": tmp_path / "v.nii.gz"})
        data["pred"] = data["image"].clone()
        back = Invertd("pred", transform, orig_keys="image", nearest_interp=True)(data)["pred"]
        assert back.shape[1:] == image.shape
        assert np.allclose(back.affine, image.affine, atol=1e-5)
        seen.append(data["image"].as_tensor())
    assert all(torch.equal(seen[0], other) for other in seen[1:])


def test_labels_of_native_slices_lie_on_the_files_grid(tmp_path):
    voxels = np.random.default_rng(1).integers(0, 2, (18, 14, 5)).astype(np.float32)
    affine = np.block([[HEART @ np.diag([2.0, 2.5, 6.0]), np.zeros((3, 1))], [np.zeros(3), 1]])
    for image in stored_otherwise(nibabel.Nifti1Image(voxels, affine)):
        nibabel.save(image, tmp_path / "v.nii.gz")
        seen = inference_transforms(16, None, "native")({"image": tmp_path / "v.nii.gz"})["image"]
        scores = torch.cat([-seen.as_tensor(), seen.as_tensor()])
        assert np.array_equal(label_map(scores, seen), image.get_fdata())


@pytest.mark.parametrize(("axis", "codes"), enumerate(NATIVE))
def test_slices_across_each_axis_of_the_body(axis, codes):
    affine = np.eye(4)
    affine[:3, :3] = np.roll(np.eye(3), axis + 1, axis=0)  # the third axis of the file runs along `axis`
    assert native_axes(affine) == codes
    assert codes[2] in ("RL", "AP", "SI")[axis]
    frame = [{"R": 1, "L": -1, "A": 1, "P": -1, "S": 1, "I": -1}[code] for code in codes]
    places = [next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair) for code in codes]
    assert np.linalg.det(np.eye(3)[:, places] * frame) == 1  # right-handed


def test_short_axis_hearts_look_the_same_whichever_axis_their_slices_are_nearer_to():
    """Their long axis lies between right and front: a degree more or less must not turn the picture."""
    seen = []
    for angle in (43, 47):
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        matrix = np.array([[cosine, 0, sine], [sine, 0, -cosine], [0, 1, 0]])  # columns: level, up, across
        image = MetaTensor(torch.arange(60.0).reshape(1, 4, 5, 3))
        image.affine = torch.from_numpy(np.block([[matrix, np.zeros((3, 1))], [np.zeros(3), 1]]))
        seen.append(NativeOrientationd("image")({"image": image})["image"])
    assert torch.equal(seen[0].as_tensor(), seen[1].as_tensor())


def test_a_picture_without_orientation_stays_as_it_is():
    image = MetaTensor(torch.arange(20.0).reshape(1, 4, 5, 1))
    assert torch.equal(NativeOrientationd("image")({"image": image})["image"].as_tensor(), image.as_tensor())


def test_hearts_of_phantoms_are_the_same_way_up(tmp_path):
    """The right ventricle lies on one side of the left one, whichever way the files' rows and columns run."""
    sides, codes = [], set()
    for case in [case for client in clients() for case in client_cases(client, 0, 2.0)][:6]:
        phantom = render(case)
        for key, voxels in (("image", phantom.image), ("label", phantom.label)):
            nibabel.save(nibabel.Nifti1Image(voxels, phantom.affine), tmp_path / f"{key}.nii")
        item = {key: tmp_path / f"{key}.nii" for key in ("image", "label")}
        label = volume_transforms(("image", "label"), 48, 2.5, "native")(item)["label"].as_tensor()[0]
        left, right = (torch.nonzero(label == value).float().mean(0) for value in (1, 3))
        sides.append((right - left)[:2])
        codes.add(case.codes)
    assert codes == {"RAS", "LPS"}
    together = torch.stack(sides).sum(0)
    assert all(float(torch.nn.functional.cosine_similarity(side, together, dim=0)) > 0.9 for side in sides)
