from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Activations, Flip, Invertd
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from shared_components.errors import InputError
from shared_components.inferers import LabelsOnFileGridd, WriteProbabilitiesd, file_grid, inference_transforms
from shared_components.inferers.file_grid import FileGrid, class_probabilities, label_map


def affine_of(voxel, angles=(0, 0, 0), axes=(0, 1, 2), signs=(1, 1, 1)) -> np.ndarray:
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = (turn @ np.diag(signs))[:, axes] @ np.diag(voxel)
    affine[:3, 3] = (12.5, -30.25, 7)
    return affine


GRIDS = {
    "straight": ((30, 26, 7), affine_of((1.5, 1.5, 4.0))),
    "flipped and permuted": ((30, 9, 26), affine_of((1.5, 4.0, 1.7), axes=(2, 0, 1), signs=(-1, 1, -1))),
    "oblique": ((41, 33, 6), affine_of((0.9, 1.1, 3.0), angles=(20, -10, 35), signs=(-1, -1, 1))),
    "at the angle of two axes": ((31, 28, 5), affine_of((1.2, 1.2, 3.0), angles=(0, 0, 45))),
    "finer than the network's": ((20, 22, 5), affine_of((3.0, 3.0, 5.0))),
    "of the network's spacing": ((20, 22, 5), affine_of((2.0, 2.0, 5.0))),
    "a slice": ((40, 36, 1), affine_of((1.0, 1.3, 5.0))),
}


def prepared(shape, affine, folder, orientation="RAS", spacing=2.0):
    """The transforms, and an image that they made of a file."""
    transforms = inference_transforms(16, spacing, orientation, multiple=8)
    voxels = np.random.default_rng(0).random(shape, dtype=np.float32)
    nib.save(nib.Nifti1Image(voxels, affine), folder / "image.nii")
    return transforms, transforms({"image": str(folder / "image.nii")})["image"]


def smooth_scores(image: MetaTensor, classes: int = 4) -> torch.Tensor:
    noise = np.random.default_rng(1).standard_normal((classes, *image.shape[1:]))
    return torch.from_numpy(20 * gaussian_filter(noise, (0, 2, 2, 0.5))).float()


@pytest.mark.parametrize("spacing", [2.0, None])
@pytest.mark.parametrize("name", GRIDS)
def test_probabilities_and_labels_are_those_of_monais_inverse(name, spacing, tmp_path):
    transforms, image = prepared(*GRIDS[name], tmp_path, spacing=spacing)
    scores = smooth_scores(image)
    inverted = Invertd("pred", transforms, "image", nearest_interp=False)(
        {"pred": MetaTensor(Activations(softmax=True)(scores)), "image": image}
    )["pred"].as_tensor()
    ours = torch.from_numpy(np.stack(list(class_probabilities(scores, image))))
    labels = torch.from_numpy(label_map(scores, image).copy())
    assert labels.dtype == torch.uint8
    assert tuple(labels.shape) == GRIDS[name][0]
    assert torch.allclose(ours, inverted, atol=2e-5)
    assert torch.equal(labels.long(), inverted.argmax(dim=0))
    assert len(labels.unique()) == 4


def test_slabs_of_any_size_give_the_same(tmp_path, monkeypatch):
    _, image = prepared(*GRIDS["oblique"], tmp_path)
    scores = smooth_scores(image)
    whole = label_map(scores, image)
    monkeypatch.setattr(file_grid, "SLAB", 1)
    assert max(slab.shape[-1] for _, slab in FileGrid(image).slabs(scores)) == 1
    assert np.array_equal(label_map(scores, image), whole)


def test_a_tie_goes_to_the_lower_class_and_half_precision_is_accepted(tmp_path):
    _, image = prepared(*GRIDS["straight"], tmp_path)
    scores = torch.zeros((3, *image.shape[1:]), dtype=torch.float16)
    assert not label_map(scores, image).any()
    scores[2, :, :, 3] = 1
    assert np.array_equal(np.unique(label_map(scores, image)[..., 3]), [2])


def test_the_transform_replaces_scores_by_labels_on_the_file(tmp_path):
    _, image = prepared(*GRIDS["flipped and permuted"], tmp_path)
    scores = smooth_scores(image)
    case = LabelsOnFileGridd()({"pred": MetaTensor(scores), "image": image, "case": "x"})
    assert case["pred"].shape == (1, *GRIDS["flipped and permuted"][0])
    assert np.array_equal(case["pred"][0].numpy(), label_map(scores, image))
    assert case["case"] == "x"


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("signs", itertools.product((1, -1), repeat=3))
def test_a_mirrored_single_slice_of_any_axis_has_its_labels(axis, signs, tmp_path):
    shape = [18, 17, 16]
    shape[axis] = 1
    axes = tuple(sorted(range(3), key=lambda n: n == axis))  # the slice's normal is the last of the patient's
    affine = affine_of((2.0, 2.0, 2.0), axes=tuple(np.argsort(axes)), signs=signs)
    _, image = prepared(shape, affine, tmp_path, spacing=None)
    scores = smooth_scores(image)
    case = LabelsOnFileGridd()({"pred": MetaTensor(scores), "image": image})
    assert np.array_equal(case["pred"][0].numpy(), label_map(scores, image))


def test_another_geometric_transform_is_refused(tmp_path):
    _, image = prepared(*GRIDS["straight"], tmp_path)
    with pytest.raises(ValueError, match="found Flip"):
        FileGrid(Flip(0)(image))


def test_probabilities_of_an_item_without_a_case_are_not_written(tmp_path):
    _, image = prepared(*GRIDS["straight"], tmp_path)
    item = {"pred": smooth_scores(image), "image": image}
    assert WriteProbabilitiesd(tmp_path / "out")(item).keys() == item.keys()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_leave_no_most_probable_class_are_no_background(tmp_path, value):
    _, image = prepared(*GRIDS["straight"], tmp_path)
    scores = smooth_scores(image)
    scores[:, 4, 5, 3] = value
    case = {"pred": scores, "image": image}
    with pytest.raises(
        InputError, match=r"image\.nii: the network's scores are NaN, which would count as backg"
    ):
        LabelsOnFileGridd()(case)
    with pytest.raises(InputError, match=r"image\.nii: the network's scores are NaN"):
        list(class_probabilities(scores, image))


def test_a_class_may_be_impossible(tmp_path):
    _, image = prepared(*GRIDS["straight"], tmp_path)
    scores = smooth_scores(image, 2)
    scores[1, :, :, 3] = float("-inf")
    assert not label_map(scores, image)[..., 3].any()
