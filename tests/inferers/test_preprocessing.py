from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from shared_components.errors import InputError
from shared_components.inferers import inference_transforms


@pytest.mark.parametrize(
    ("shape", "multiple", "expected"),
    [
        ((10, 12, 3), 16, (32, 32, 3)),  # padded to the training size
        ((40, 12, 3), 16, (48, 32, 3)),  # larger: never cropped, padded to the multiple
        ((40, 12, 3), 1, (40, 32, 3)),
    ],
)
def test_slices_are_padded_and_never_cropped(tmp_path, shape, multiple, expected):
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "volume.nii")
    image = inference_transforms(32, None, multiple=multiple)({"image": str(tmp_path / "volume.nii")})[
        "image"
    ]
    assert image.shape[1:] == expected
    assert image.dtype == torch.float32
    inside = image[0].numpy() != -1
    assert (image.min(), image.max()) == (-1, 1)
    assert inside.sum() <= voxels.size


def test_a_volume_within_the_training_size_looks_as_in_training(tmp_path):
    from shared_components.data.volumes import volume_transforms

    voxels = np.random.default_rng(0).normal(size=(21, 26, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.5, 1.5, 3, 1])), tmp_path / "volume.nii")
    item = {"image": str(tmp_path / "volume.nii")}
    trained = volume_transforms(("image",), 48, 1.0)(item)["image"]
    assert torch.equal(inference_transforms(48, 1.0)(item)["image"], trained)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float64])
def test_without_its_first_step_an_image_in_memory_is_prepared_as_its_file_is(tmp_path, dtype):
    voxels = np.random.default_rng(0).integers(0, 900, size=(21, 26, 5)).astype(dtype)
    affine = np.diag([-1.5, 1.5, 3, 1])
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "volume.nii")
    transforms = inference_transforms(32, 1.0)
    expected = transforms({"image": str(tmp_path / "volume.nii")})["image"]
    image = MetaTensor.ensure_torch_and_prune_meta(voxels, in_memory(affine))
    found = Compose(transforms.transforms[1:])({"image": image})["image"]
    assert found.dtype == torch.float32
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert torch.equal(found.affine, expected.affine)


def test_an_image_in_memory_has_no_name_in_messages():
    image = MetaTensor(torch.zeros(8, 8, 2), meta=in_memory(np.diag([0.0, 1, 1, 1])))
    steps = Compose(inference_transforms(16, None).transforms[1:])
    with pytest.raises(RuntimeError) as caught:
        steps({"image": image})
    assert isinstance(caught.value.__cause__, InputError)
    assert str(caught.value.__cause__).startswith("image: its affine has a voxel of zero size")


def in_memory(affine: np.ndarray) -> dict:
    """Metadata of an image without a file, as MONAI Deploy gives them."""
    return {"affine": affine, "original_affine": affine, "original_channel_dim": "no_channel", "space": "RAS"}
