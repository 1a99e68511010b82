from __future__ import annotations

import unicodedata
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


@pytest.mark.parametrize("folder", ["label", "seg", "mask", "gt", "GT"])
def test_other_names_of_the_folder_for_label_maps(tmp_path, folder):
    files(tmp_path, "images/a.nii.gz", f"{folder}/a.nii.gz")
    assert found(tmp_path) == [("a", "images/a.nii.gz", f"{folder}/a.nii.gz")]
    files(tmp_path, "labels/a.nii.gz")
    assert found(tmp_path) == [("a", "images/a.nii.gz", "labels/a.nii.gz")]
    assert find_pairs(tmp_path, label_maps=f"{folder}/*")[0].label == tmp_path / folder / "a.nii.gz"


def test_a_pattern_finds_label_maps_that_no_layout_knows(tmp_path):
    files(tmp_path, "images/a.nii.gz", "truth/a.nii.gz")
    assert found(tmp_path) == [("a", "images/a.nii.gz", None)]
    assert find_pairs(tmp_path, label_maps="truth/*")[0].label == tmp_path / "truth/a.nii.gz"
    with pytest.raises(InputError, match="'nowhere/\\*' fits none of 2 files"):
        find_pairs(tmp_path, label_maps="nowhere/*")


def test_a_flat_folder_with_suffixes(tmp_path):
    files(tmp_path, "a.nii.gz", "a_seg.nii.gz", "b.nii", "b-Mask.nii", "c.nrrd")
    assert found(tmp_path) == [
        ("a", "a.nii.gz", "a_seg.nii.gz"),
        ("b", "b.nii", "b-Mask.nii"),
        ("c", "c.nrrd", None),
    ]


def test_label_maps_among_the_images_are_told_by_their_names(tmp_path):
    """As inference writes them beside its inputs, and some programs into one folder with the images."""
    files(tmp_path, "images/a.nii.gz", "images/a_seg.nii.gz", "images/b.nii.gz")
    assert found(tmp_path) == [
        ("a", "images/a.nii.gz", "images/a_seg.nii.gz"), ("b", "images/b.nii.gz", None)
    ]  # fmt: skip


def test_slicers_names(tmp_path):
    files(tmp_path, "p0.nrrd", "p0.seg.nrrd", "p1.nrrd", "p1.seg.nrrd")
    assert found(tmp_path) == [("p0", "p0.nrrd", "p0.seg.nrrd"), ("p1", "p1.nrrd", "p1.seg.nrrd")]


def test_a_link_to_a_folder_is_not_passed_over_in_silence(tmp_path):
    files(tmp_path, "root/images/p0/a.nii.gz", "archive/p1/b.nii.gz")
    (tmp_path / "root/images/p1").symlink_to(tmp_path / "archive/p1")
    with pytest.raises(
        InputError, match=r"images/p1: is a link to a folder, .*; move or copy the folder there"
    ):
        find_pairs(tmp_path / "root")


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


@pytest.mark.parametrize(
    "names",
    [
        ["images/c_0000.nii", "images/c_0001.nii", "labels/c_0000.nii", "labels/c_0001.nii"],
        ["imagesTr/c_0001.nii", "imagesTs/c_0002.nii", "labelsTr/c_0001.nii"],
        ["c_0001.nii", "c_0002.nii", "c_0002_seg.nii"],
        ["c_0001.nii", "c_0002.nii", "d_0001.nii"],
        ["a/c_0001.nii", "a/c_0001_mask.nii"],
    ],
)
def test_four_digits_that_number_subjects_are_part_of_their_names(tmp_path, names):
    files(tmp_path, *names)
    images = [
        Path(name) for name in names if "label" not in name and "seg" not in name and "mask" not in name
    ]
    assert {pair.subject: pair.image.name for pair in find_pairs(tmp_path)} == {
        i.stem: i.name for i in images
    }
    labelled = {pair.subject for pair in find_pairs(tmp_path) if pair.label}
    assert labelled == {
        Path(n).stem.split("_seg")[0].split("_mask")[0] for n in {*names} - {*map(str, images)}
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["imagesTr/amos_0001_0000.nii", "imagesTr/amos_0004_0000.nii", "labelsTr/amos_0001.nii"],
            {"amos_0001": "amos_0001.nii", "amos_0004": None},
        ),
        (
            ["imagesTr/b_0000.nii", "imagesTr/b_0001_0000.nii", "imagesTr/a_0000.nii"]
            + ["labelsTr/b_0001.nii", "labelsTr/a.nii"],
            {"a": "a.nii", "b": None, "b_0001": "b_0001.nii"},
        ),
        ([f"images/c_{n:04}.nii" for n in range(6)], {f"c_{n:04}": None for n in range(6)}),
    ],
)
def test_channels_and_numbers_are_told_apart(tmp_path, names, expected):
    files(tmp_path, *names)
    assert {p.subject: p.label and p.label.name for p in find_pairs(tmp_path)} == expected


def test_two_channels_whose_segmentation_is_named_after_one_are_one_subject_and_told(tmp_path):
    names = [f"p{n}_{kind}.nii" for n in (1, 2) for kind in ("0000", "0001", "0000_seg")]
    files(tmp_path, *names)
    with pytest.raises(InputError, match=r"a second image of 'p1' .*--images '\*_0000\.nii'"):
        find_pairs(tmp_path)
    chosen = find_pairs(tmp_path, "*_0000.nii", "*_seg.nii")
    assert [(p.image.name, p.label.name) for p in chosen] == [
        ("p1_0000.nii", "p1_0000_seg.nii"),
        ("p2_0000.nii", "p2_0000_seg.nii"),
    ]


def test_all_images_of_one_beginning_can_be_chosen(tmp_path):
    files(tmp_path, *(f"c_{n:04}.nii" for n in range(3)))
    with pytest.raises(InputError, match="--images '\\*' takes all"):
        find_pairs(tmp_path)
    assert [p.subject for p in find_pairs(tmp_path, "*")] == ["c_0000", "c_0001", "c_0002"]


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
            "a second label map of 'a' beside .*; keep one, put those of two subjects and their images into folders",
        ),
        (
            ["p/t1.nii", "p/t2.nii", "q/t1.nii", "q/t2.nii"],
            r"second image of 'p' beside .*--images '\*t1\.nii'",
        ),
        (
            ["p/t1.nii", "p/t2.nii", "p/flair.nii", "q/t1.nii", "q/t2.nii", "q/flair.nii"],
            r"'p' .*--images '\*flair\.nii' \(of several sequences, each makes a data root, of a copy of its files in ",
        ),
        (
            [f"session{visit}/P{n}.nii.gz" for visit in (1, 2) for n in range(3)],
            r"'session1' .*choose one of several folders with --images, such as --images 'session1/\*' \(--images '\*'",
        ),
        (
            [f"images/{visit}/P{n}.nii.gz" for visit in (2019, 2020, 2021) for n in range(2)],
            r"--images 'images/2019/\*' \(--images '\*' takes all\)",
        ),
        (["p/t2.nii", "q/t2.nii", "p/manual.nii", "p/auto.nii"], "a second image of 'p' beside"),
    ],
)
def test_folders_of_no_sense_are_refused(tmp_path, names, message):
    files(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path)


def test_the_cure_for_visits_keeps_one_image_of_each_patient(tmp_path):
    files(tmp_path, *(f"session{visit}/P{n}.nii.gz" for visit in (1, 2) for n in range(3)))
    assert [pair.subject for pair in find_pairs(tmp_path, "session1/*")] == ["P0", "P1", "P2"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_pairs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["case01/image.nii.gz", "case01/mask.nii.gz", "case02/image.nii.gz", "case02/mask.nii.gz"],
            {"case01": "case01/mask.nii.gz", "case02": "case02/mask.nii.gz"},
        ),
        (
            ["p7/t2.nii.gz", "p7/seg.nii.gz", "p8/t2.nii.gz"],
            {"p7": "p7/seg.nii.gz", "p8": None},
        ),
        (
            ["p7/p7_t2.nii", "p7/p7_seg.nii", "p8/p8_t2.nii", "p8/p8_seg.nii"],
            {"p7_t2": "p7/p7_seg.nii", "p8_t2": "p8/p8_seg.nii"},
        ),
        (
            [
                "sub-01/anat/sub-01_T1w.nii.gz",
                "sub-02/anat/sub-02_T1w.nii.gz",
                "derivatives/labels/sub-01/anat/sub-01_T1w_label-lesion_mask.nii.gz",
                "derivatives/labels/sub-02/anat/sub-02_T1w.nii.gz",
            ],
            {
                "sub-01_T1w": "derivatives/labels/sub-01/anat/sub-01_T1w_label-lesion_mask.nii.gz",
                "sub-02_T1w": "derivatives/labels/sub-02/anat/sub-02_T1w.nii.gz",
            },
        ),
        (
            ["images/p/a.nii", "images/q/a.nii", "labels/p/a.nii", "labels/q.nii"],
            {"p": "labels/p/a.nii", "q": "labels/q.nii"},
        ),
        (
            ["p1/s1/T1/scan.nii", "p1/s2/T1/scan.nii", "p2/s1/T1/scan.nii", "p1/s2/labels/scan.nii"],
            {"p1_s1": None, "p1_s2": "p1/s2/labels/scan.nii", "p2_s1": None},
        ),
        (
            ["imagesTr/c1/image.nii", "labelsTr/c1/mask.nii", "imagesTs/c9/image.nii"],
            {"c1": "labelsTr/c1/mask.nii", "c9": None},
        ),
    ],
)
def test_folders_tell_what_equal_names_do_not(tmp_path, names, expected):
    files(tmp_path, *names)
    assert {subject: label for subject, _, label in found(tmp_path)} == expected


@pytest.mark.parametrize(
    ("names", "images", "label_maps", "expected"),
    [
        (
            [
                "b1/b1_t1.nii",
                "b1/b1_t2.nii",
                "b1/b1_seg.nii",
                "b2/b2_t1.nii",
                "b2/b2_t2.nii",
                "b2/b2_seg.nii",
            ],
            "*_t2.nii",
            None,
            [("b1_t2", "b1/b1_t2.nii", "b1/b1_seg.nii"), ("b2_t2", "b2/b2_t2.nii", "b2/b2_seg.nii")],
        ),
        (
            ["p/t1.nii", "p/t2.nii", "p/lesion.nii", "q/t1.nii", "q/t2.nii"],
            "t2.nii",
            "lesion.nii",
            [("p", "p/t2.nii", "p/lesion.nii"), ("q", "q/t2.nii", None)],
        ),
        (
            ["volume-0.nii", "volume-1.nii", "segmentation-0.nii", "segmentation-1.nii"],
            "volume-*",
            "segmentation-*",
            [
                ("volume-0", "volume-0.nii", "segmentation-0.nii"),
                ("volume-1", "volume-1.nii", "segmentation-1.nii"),
            ],
        ),
        (
            ["north/01.nii", "north/02.nii", "south/01.nii"],
            "*",
            None,
            [
                (f"{p}_{n}", f"{p}/{n}.nii", None)
                for p, n in (("north", "01"), ("north", "02"), ("south", "01"))
            ],
        ),
        (
            ["imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii"],
            "*_0001.nii",
            None,
            [("a", "imagesTr/a_0001.nii", "labelsTr/a.nii")],
        ),
    ],
)
def test_patterns_say_which_files_are_meant(tmp_path, names, images, label_maps, expected):
    files(tmp_path, *names)
    assert [
        (p.subject, str(p.image.relative_to(tmp_path)), p.label and str(p.label.relative_to(tmp_path)))
        for p in find_pairs(tmp_path, images, label_maps)
    ] == expected


def test_a_pattern_that_fits_nothing_is_refused(tmp_path):
    files(tmp_path, "p/t1.nii", "q/t1.nii")
    with pytest.raises(
        InputError, match=r"--images: '\*_t2\*' fits none of 2 files of .*, such as p/t1\.nii; \* stands"
    ):
        find_pairs(tmp_path, "*_t2*")


def test_series_in_folders_of_one_name_with_label_maps_beside_them(tmp_path, save_dicom):
    for patient in ("p1", "p2"):
        save_dicom(tmp_path / patient / "DICOM", np.ones((4, 5, 2)), np.eye(4))
        files(tmp_path, f"{patient}/mask.nii.gz")
    assert found(tmp_path) == [("p1", "p1/DICOM", "p1/mask.nii.gz"), ("p2", "p2/DICOM", "p2/mask.nii.gz")]


def test_both_spellings_of_an_umlaut_are_one_name(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Müller.nii") for form in ("NFC", "NFD"))
    files(tmp_path, f"images/{composed}", f"labels/{apart}")
    assert found(tmp_path) == [("Müller", f"images/{composed}", f"labels/{apart}")]


@pytest.mark.parametrize(
    "label", ["a seg", "a-manual", "a_seg-manual", "a_gmseg", "a_Segmentierung", "Maske a", "a Segmentierung"]
)
def test_words_for_label_maps(tmp_path, label):
    files(tmp_path, "a.nii.gz", f"{label}.nii.gz")
    assert found(tmp_path) == [("a", "a.nii.gz", f"{label}.nii.gz")]


def test_files_that_are_not_read_are_told_where_they_may_be_the_cause(tmp_path):
    files(tmp_path, "images/a.mgz")
    with pytest.raises(
        InputError, match=r"found no images .*DICOM files; 1 file is of a format that is not read"
    ):
        find_pairs(tmp_path)
    files(tmp_path, "images/b.nii.gz", "labels/a.nii.gz")
    with pytest.raises(InputError, match=r"no image is named 'a'.*; 1 file is of a format .*images/a\.mgz;"):
        find_pairs(tmp_path)
