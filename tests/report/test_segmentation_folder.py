from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.datalists import make_datalist
from shared_components.errors import InputError
from shared_components.report.segmentation_folder import loose_cases, segmented_cases


def save(path: Path, values=(0, 1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.resize(np.asarray(values, np.uint8), (4, 4, 4))
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


def test_marked_files_are_segmentations_and_those_beside_them_images(tmp_path):
    for name in ("a.nii.gz", "a_seg.nii.gz", "b_seg.nii"):
        save(tmp_path / name)
    assert loose_cases(tmp_path) == [
        {"case": "a", "segmentation": str(tmp_path / "a_seg.nii.gz"), "image": str(tmp_path / "a.nii.gz")},
        {"case": "b", "segmentation": str(tmp_path / "b_seg.nii")},
    ]


def test_unmarked_files_are_segmentations_where_none_is_marked(tmp_path):
    save(tmp_path / "a.nii.gz"), save(tmp_path / "b.mha.nii")
    assert [case["case"] for case in loose_cases(tmp_path)] == ["a", "b.mha"]


def test_images_and_references_are_found_by_name(tmp_path):
    save(tmp_path / "out" / "a_seg.nii.gz", (0, 1, 3)), save(tmp_path / "out" / "b_seg.nii.gz")
    save(tmp_path / "images" / "a.nii.gz"), save(tmp_path / "images" / "c.nii.gz")
    save(tmp_path / "truth" / "b_seg.nii.gz")
    cases, labels = segmented_cases(tmp_path / "out", tmp_path / "images", tmp_path / "truth")
    assert [case.get("image") for case in cases] == [str(tmp_path / "images" / "a.nii.gz"), None]
    assert [case.get("label") for case in cases] == [None, str(tmp_path / "truth" / "b_seg.nii.gz")]
    assert labels == {1: "label 1", 3: "label 3"}


def test_a_data_root_gives_images_and_labels_of_all_splits(tmp_path):
    root = tmp_path / "root"
    for name in "abcd":
        save(root / "images" / f"{name}.nii.gz"), save(root / "labels" / f"{name}.nii.gz")
        save(tmp_path / "out" / f"{name}_seg.nii.gz")
    make_datalist(root, "t1", labels=["air", "brain"])
    cases, labels = segmented_cases(tmp_path / "out", root, root, {0: "air", 1: "brain"})
    assert [Path(case["image"]).parent.name for case in cases] == ["images"] * 4
    assert [Path(case["label"]).parent.name for case in cases] == ["labels"] * 4
    assert labels == {1: "brain"}


def test_an_inference_run_is_taken_as_it_is(inference_run, tmp_path):
    cases, labels = segmented_cases(inference_run(tmp_path / "out"))
    assert [case["case"] for case in cases] == ["s0", "s1", "s2"] and "label" in cases[0]
    assert labels == {1: "brain & <cord>"}


def test_an_empty_folder_and_other_names_are_errors(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"out: expected segmentations .*, found none"):
        segmented_cases(tmp_path / "out")
    save(tmp_path / "out" / "a_seg.nii.gz"), save(tmp_path / "images" / "x.nii.gz")
    with pytest.raises(
        InputError, match=r"images: expected volumes named like the segmentations \(a, …\), found x"
    ):
        segmented_cases(tmp_path / "out", images=tmp_path / "images")
