from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared_components.data.pairing import find_pairs
from shared_components.errors import InputError


def files(root: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def found(root: Path) -> list[tuple[str, str, str | None]]:
    return [
        (pair.subject, str(pair.image.relative_to(root)), pair.label and str(pair.label.relative_to(root)))
        for pair in find_pairs(root)
    ]


def test_images_and_labels_folders_of_different_formats(tmp_path):
    files(tmp_path, "images/a.nii.gz", "images/b.mha", "labels/a.seg.nrrd", "images/notes.txt")
    assert found(tmp_path) == [("a", "images/a.nii.gz", "labels/a.seg.nrrd"), ("b", "images/b.mha", None)]


def test_a_flat_folder_with_suffixes(tmp_path):
    files(tmp_path, "a.nii.gz", "a_seg.nii.gz", "b.nii", "b-Mask.nii", "c.nrrd")
    assert found(tmp_path) == [
        ("a", "a.nii.gz", "a_seg.nii.gz"),
        ("b", "b.nii", "b-Mask.nii"),
        ("c", "c.nrrd", None),
    ]


def test_a_folder_for_each_subject(tmp_path):
    files(tmp_path, "a/a.nii.gz", "a/a_seg.nii.gz", "b/b.nii.gz")
    assert found(tmp_path) == [("a", "a/a.nii.gz", "a/a_seg.nii.gz"), ("b", "b/b.nii.gz", None)]


def test_channel_endings_are_passed_over(tmp_path):
    files(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz")
    assert found(tmp_path) == [
        ("a", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"),
        ("b", "imagesTs/b_0000.nii.gz", None),
    ]
    assert [pair.held_out for pair in find_pairs(tmp_path)] == [False, True]


def test_dicom_folders_are_one_image_each(tmp_path, save_dicom):
    for folder in ("images/a", "images/b/x"):
        save_dicom(tmp_path / folder, np.ones((4, 5, 2)), np.eye(4))
    files(tmp_path, "labels/a.nii.gz")
    assert found(tmp_path) == [("a", "images/a", "labels/a.nii.gz"), ("x", "images/b/x", None)]


def test_folder_names_in_other_spellings(tmp_path):
    files(tmp_path, "Images/a.nii.gz", "Masks/a.nii.gz")
    assert found(tmp_path) == [("a", "Images/a.nii.gz", "Masks/a.nii.gz")]


def test_a_loose_dicom_series_is_refused(tmp_path, save_dicom):
    save_dicom(tmp_path, np.arange(48).reshape(4, 4, 3), np.eye(4))
    with pytest.raises(
        InputError, match="3 DICOM files of 1 series lie loose in it; put each series into a fol"
    ):
        find_pairs(tmp_path)


def test_single_dicom_pictures_are_an_image_each(tmp_path, save_dicom):
    for number in range(2):
        picture = np.arange(number, number + 16).reshape(4, 4, 1)
        save_dicom(tmp_path, picture, np.eye(4), f"1.2.3.{number}")
    assert [pair.image.name for pair in find_pairs(tmp_path)] == ["1.2.3.0_000.dcm", "1.2.3.1_000.dcm"]


def test_hidden_files_are_left_out(tmp_path):
    files(tmp_path, "images/a.nii.gz", "images/._a.nii.gz", ".trash/b.nii.gz")
    assert found(tmp_path) == [("a", "images/a.nii.gz", None)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "found no images"),
        (["notes.txt"], "found no images"),
        (
            ["images/a.nii.gz", "labels/b.nii.gz"],
            r"labels/b\.nii\.gz: no image is named 'b'; name label maps as",
        ),
        (["images/a.nii.gz", "labels/b.nii", "labels/c.nii"], r"\(nor have 1 more label maps\)"),
        (["images/a_0000.nii", "images/a_0001.nii"], r"a_0001\.nii: a second image of 'a' beside .*a_0000"),
        (
            ["images/a.nii", "labels/a.nii", "labels/a_seg.nii"],
            "a second label map of 'a' beside .*; keep one$",
        ),
        (
            ["images/p/a.nii", "images/q/a.nii", "labels/p/a.nii", "labels/q/a.nii"],
            "second label map of 'a' beside .*; keep one, or name those of two subjects",
        ),
    ],
)
def test_folders_of_no_sense_are_refused(tmp_path, names, message):
    files(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_pairs(tmp_path / "nowhere")
