from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

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
