from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from shared_components.errors import InputError
from shared_components.inferers import CaseDataset, inference_transforms


def test_labels_stay_behind(tmp_path):
    dataset = CaseDataset([{"image": "a", "case": "b", "label": "c"}], Compose([]))
    assert dataset[0] == {"image": "a", "case": "b"}


def test_faults_of_a_volume_are_told_in_one_line(tmp_path):
    bad = np.ones((6, 6, 6), np.float32)
    bad[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(bad, np.eye(4)), tmp_path / "nan.nii")
    (tmp_path / "text.nrrd").write_text("hello")
    cases = [{"image": str(tmp_path / name), "case": name} for name in ("nan.nii", "text.nrrd")]
    dataset = CaseDataset(cases, inference_transforms(16, 1.0))
    with pytest.raises(InputError, match=r"nan\.nii: .*NaN"):
        dataset[0]
    with pytest.raises(InputError, match=r"text\.nrrd: could not be read"):
        dataset[1]


def test_faults_of_a_program_are_not_dressed_up(tmp_path):
    dataset = CaseDataset([{"image": "a", "case": "b"}], Compose([lambda item: item["absent"]]))
    with pytest.raises(RuntimeError, match="applying transform"):
        dataset[0]


def test_a_time_series_is_one_item_a_frame_between_volumes(tmp_path):
    for name, shape in (("a", (6, 5, 4)), ("b", (6, 5, 4, 3))):
        nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / f"{name}.nii.gz")
    cases = [{"image": str(tmp_path / f"{name}.nii.gz"), "case": name} for name in "ab"]
    dataset = CaseDataset([*cases, {"image": "c", "case": "c"}], Compose([]))
    assert [(item["case"], item.get("frame"), item.get("frames")) for item in dataset] == [
        ("a", None, None), ("b", 0, 3), ("b", 1, 3), ("b", 2, 3), ("c", None, None)
    ]  # fmt: skip
