"""The data check, training and scoring read the same labels in a file: within rounding, and no probabilities."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from shared_components.data.label_values import value_faults, values_in, whole
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
BOX = np.zeros((16, 16, 4), np.float32)
BOX[4:12, 5:11, 1:3] = 1


def dataset(folder: Path, label: np.ndarray) -> SliceDataset:
    image = np.random.default_rng(0).normal(100, 10, BOX.shape).astype(np.float32)
    for name, voxels in (("image", image), ("label", label)):
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), folder / f"{name}.nii")
    item = {key: str(folder / f"{key}.nii") for key in ("image", "label")}
    return SliceDataset([item | {"domain": "t1", "subject": "s"}], ["t1"], 16, None, orientation=None)


@pytest.mark.parametrize("one", [0.9999999, 0.9995, 1.0000001])
def test_values_within_rounding_are_whole_in_training(tmp_path, one):
    slices = dataset(tmp_path, (BOX * one).astype(np.float32))
    labels = torch.stack([slices[i]["label"] for i in range(4)]).permute(1, 2, 3, 0)[0]
    np.testing.assert_array_equal(labels.numpy(), BOX)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (BOX * 0.5 + 0.1, r"no whole numbers \(0\.1, 0\.6\), all from 0 to 1: a probability map; make a label map"),
        (BOX * 1.0235, r"no whole numbers \(1\.0235\); save a label map, not probabilities"),
        (BOX / 32767, r"no whole numbers \(3\.05185e-05\)"),
        (np.where(BOX > 0, 1, np.nan), "928 voxels of the label are NaN or infinite"),
    ],
    ids=["probabilities", "resampled", "scaled", "NaN"],
)  # fmt: skip
def test_training_refuses_what_the_check_refuses(tmp_path, label, said):
    with pytest.raises(InputError, match=rf"label\.nii: .*{said}"):
        dataset(tmp_path, label.astype(np.float32))
    (fault,) = value_faults("label.nii", torch.from_numpy(label).float(), {0, 1})
    assert str(fault).startswith("label.nii: ")


def test_values_are_told_apart_by_what_they_round_to():
    voxels = torch.tensor([0.0, 0.9999, 2.0002, 1e-7])
    assert values_in(voxels) == {0, 1, 2}
    assert whole(voxels).tolist() == [0, 1, 2, 0]
    assert list(value_faults("l", voxels, {0, 1, 2})) == []
    (fault,) = value_faults("l", voxels, {0, 1})
    assert "label values 2 are outside 'labels' (0, 1)" in str(fault)
