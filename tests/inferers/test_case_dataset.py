from __future__ import annotations

import re
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from shared_components.errors import InputError
from shared_components.inferers import CaseDataset, ReadAheadLoader, inference_transforms
from shared_components.inferers.case_list import FAULT


def volume(path: Path, shape=(6, 5, 4), value: float = 0.0) -> str:
    voxels = np.zeros(shape, np.float32)
    voxels.flat[0] = value
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return str(path)


def bad_cases(folder: Path) -> list[dict[str, str]]:
    volume(folder / "nan.nii", value=np.nan)
    volume(folder / "cine.nii", (6, 5, 4, 3), value=np.nan)  # in its first frame
    (folder / "text.nrrd").write_text("hello")
    (folder / "empty.nii.gz").touch()
    names = ("nan.nii", "text.nrrd", "cine.nii", "empty.nii.gz", "absent.nii")
    return [{"image": str(folder / name), "case": name} for name in names]


FAULTS = {
    "nan.nii": r"nan\.nii: 1 of 120 voxels are NaN or infinite; replace them",
    "text.nrrd": r"text\.nrrd: not an image that can be read \(.+\); copy it again",
    "cine.nii": r"cine\.nii: 1 of 120 voxels are NaN or infinite; replace them",
    "empty.nii.gz": r"empty\.nii\.gz: unreadable: the file is empty; copy it again",
    "absent.nii": r"absent\.nii: expected a volume, found nothing; check the path",
}


def test_labels_stay_behind(tmp_path):
    image = volume(tmp_path / "a.nii")
    dataset = CaseDataset([{"image": image, "case": "b", "label": "c"}], Compose([]))
    assert dataset[0] == {"image": image, "case": "b"}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_volume_are_told_in_one_line(name, tmp_path):
    case = next(case for case in bad_cases(tmp_path) if case["case"] == name)
    with pytest.raises(InputError, match=FAULTS[name]):
        CaseDataset([case], inference_transforms(16, 1.0))[0]


def test_a_dataset_that_keeps_going_gives_the_fault_as_an_item(tmp_path):
    dataset = CaseDataset(bad_cases(tmp_path), inference_transforms(16, 1.0), keep_going=True)
    items = list(dataset)
    assert [item["case"] for item in items] == ["nan.nii", "text.nrrd", *["cine.nii"] * 3, *list(FAULTS)[3:]]
    for item in items:
        assert re.fullmatch(f".*{FAULTS[item['case']]}.*", item[FAULT]), item[FAULT]
        assert "\n" not in item[FAULT]


def test_faults_of_a_program_are_not_dressed_up(tmp_path):
    case = {"image": volume(tmp_path / "a.nii"), "case": "b"}
    dataset = CaseDataset([case], Compose([lambda item: item["absent"]]), keep_going=True)
    with pytest.raises(RuntimeError, match="applying transform"):
        dataset[0]


def test_the_loader_reads_ahead_in_order_and_passes_errors_on(tmp_path):
    names = [volume(tmp_path / f"{index}.nii") for index in range(3)]
    cases = [{"image": name, "case": str(index)} for index, name in enumerate(names)]
    threads = []

    def step(item: dict) -> dict:
        threads.append(threading.current_thread())
        return item if item["case"] != "2" else item["absent"]

    batches = iter(ReadAheadLoader(CaseDataset(cases, step), batch_size=1))
    assert [next(batches)["case"], next(batches)["case"]] == [["0"], ["1"]]
    with pytest.raises(RuntimeError, match="applying transform"):
        next(batches)
    assert threading.main_thread() not in threads


def test_a_time_series_is_one_item_a_frame_between_volumes(tmp_path):
    shapes = {"a": (6, 5, 4), "b": (6, 5, 4, 3), "c": (6, 5)}
    cases = [{"image": volume(tmp_path / f"{n}.nii.gz", shape), "case": n} for n, shape in shapes.items()]
    dataset = CaseDataset(cases, Compose([]))
    assert [(item["case"], item.get("frame"), item.get("frames")) for item in dataset] == [
        ("a", None, None), ("b", 0, 3), ("b", 1, 3), ("b", 2, 3), ("c", None, None)
    ]  # fmt: skip
