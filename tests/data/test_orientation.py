"""Native slices: those of the file, the same way up however the file stores them."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from scipy.spatial.transform import Rotation

from shared_components.data.orientation import NATIVE, NativeOrientationd, native_axes
from shared_components.data.phantoms.cardiac import client_cases, clients, render
from shared_components.data.volumes import volume_transforms
from shared_components.inferers.file_grid import label_map
from shared_components.inferers.preprocessing import inference_transforms

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
