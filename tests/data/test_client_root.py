from __future__ import annotations

import os
import re

import pytest

from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.data.names import subject_name
from shared_components.data.voxel_headers import header_faults
from shared_components.errors import InputError
from tests.data.dicom_files import RIGHT


def test_loads_what_the_description_says(data_root):
    root = ClientRoot.load(data_root[0])
    assert (root.name, root.domain, root.modality) == ("north", "t2", {"0": "MRI"})
    assert root.labels == {0: "background", 1: "brain"}
    assert {split: len(entries) for split, entries in root.splits.items()} == {
        "training": 2,
        "validation": 1,
        "test": 1,
    }


def test_items_have_absolute_paths_domain_and_subject(data_root):
    folder, _ = data_root
    first, second = ClientRoot.load(folder).items("training")
    assert first == {
        "image": str(folder / "images/s1.nii.gz"),
        "label": str(folder / "labels/s1.nii.gz"),
        "classes": [0, 1],
        "domain": "t2",
        "subject": "s1",
    }
    assert "label" not in second


def test_several_images_of_one_patient(data_root, describe):
    root, content = data_root
    for entry in content["training"]:
        entry["patient"] = "p7"
    describe(root, content)
    assert [item["patient"] for item in ClientRoot.load(root).items("training")] == ["p7", "p7"]
    content["validation"][0]["patient"] = "p7"
    describe(root, content)
    with pytest.raises(
        InputError, match="images of the patient 'p7' are in training and validation; keep all"
    ):
        ClientRoot.load(root)
    content["validation"][0]["patient"] = 7
    describe(root, content)
    with pytest.raises(
        InputError, match=r"validation\[0\]: 'patient' expected a name, found 7; write a name"
    ):
        ClientRoot.load(root)


def test_items_by_label(data_root):
    root = ClientRoot.load(data_root[0])
    assert [item["subject"] for item in root.items("training", labelled=True)] == ["s1"]
    assert [item["subject"] for item in root.items("training", labelled=False)] == ["s2"]


def test_paths_are_absolute_for_a_relative_root(data_root, monkeypatch):
    monkeypatch.chdir(data_root[0].parent)
    assert ClientRoot.load("north").items("test")[0]["image"] == str(data_root[0] / "images/s4.nii.gz")


def test_splits_may_be_left_out(data_root, describe):
    root, content = data_root
    describe(root, {key: content[key] for key in ("name", "domain", "labels", "training")})
    assert ClientRoot.load(root).items("test") == []


def test_an_unknown_split_is_refused(data_root):
    with pytest.raises(InputError, match="expected one of training, validation, test, found 'train'"):
        ClientRoot.load(data_root[0]).items("train")


def test_all_faults_are_told_in_one_line(data_root, describe):
    root, content = data_root
    describe(root, content | {"domain": ""})
    with pytest.raises(InputError, match=r"dataset\.json: 'domain': expected a name, found ''; write"):
        ClientRoot.load(root)
    (root / "images/s2.nii.gz").unlink()
    (root / "images/s3.nii.gz").unlink()
    with pytest.raises(
        InputError,
        match=r"json: 'domain': .* \(write a short text\); \S+s2\.nii\.gz: no such file \(.*\); "
        r"\S+s3\.nii\.gz: no such file \([^\n]*\)$",
    ):
        ClientRoot.load(root)


def test_what_is_missing_is_told_with_what_to_write(data_root, describe):
    root, content = data_root
    describe(root, {"labels": content["labels"]})
    with pytest.raises(InputError) as caught:
        ClientRoot.load(root)
    assert str(caught.value) == (
        f"""{root / "dataset.json"}: has no 'name' (add it, such as "name": "north"); """
        """has no 'domain' (add it, such as "domain": "t1"); has no 'training' (add it, such as """
        """"training": [{"image": "images/s1.nii.gz", "label": "labels/s1.nii.gz"}])"""
    )


def test_beyond_five_faults_are_counted(data_root, describe):
    root, content = data_root
    describe(root, content | {"test": [{"image": f"images/gone{number}.nii.gz"} for number in range(7)]})
    with pytest.raises(InputError, match=r"gone4\.nii\.gz: no such file \([^;]*\); and 2 more$"):
        ClientRoot.load(root)


def test_a_missing_description_names_its_cure(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json: no such file; write it, such as \{"):
        ClientRoot.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "subject"),
    [
        ("images/s01.nii.gz", "s01"),
        ("s01.v2.NII.GZ", "s01.v2"),
        ("s01.seg.nrrd", "s01"),
        ("s01.img", "s01"),
        ("series.2024", "series.2024"),
        ("a/b/s_0000.mha", "s_0000"),
    ],
)
def test_subject_names(file, subject):
    assert subject_name(file) == subject


@pytest.fixture
def only_line(data_root, describe):
    """Check the data root with an image in place of s3, expect one fault, return its line."""
    root, content = data_root

    def check(image: str, key: str = "image") -> str:
        describe(root, content | {"validation": [{"image": "images/s3.nii.gz"} | {key: image}]})
        (fault,) = check_client_root(root)
        with pytest.raises(InputError) as told:
            ClientRoot.load(root)
        assert str(told.value) == str(fault)
        return str(fault).removeprefix(f"{root}/")

    return check


@pytest.mark.parametrize("key", ["image", "label"])
@pytest.mark.parametrize(
    ("path", "shown", "fault"),
    [
        ("a\0b.nii.gz", "a\\x00b.nii.gz", "no path, it holds a NUL character"),
        ("a\ud800/b.nii.gz", "a\\ud800/b.nii.gz", "no path, it holds half of a surrogate pair"),
        ("loop.nii.gz", "loop.nii.gz", "cannot be looked up (Too many levels of symbolic links)"),
        ("loop/s3.nii.gz", "loop/s3.nii.gz", "cannot be looked up (Too many levels of symbolic links)"),
        ("x" * 300, "x" * 300, "cannot be looked up (File name too long)"),
    ],
)
def test_paths_that_cannot_be_looked_up(data_root, only_line, key, path, shown, fault):
    (data_root[0] / "loop.nii.gz").symlink_to("loop.nii.gz")
    (data_root[0] / "loop").symlink_to("loop")
    assert only_line(path, key) == f"{shown}: {fault}; correct the path or take the entry out"


def test_a_path_of_thousands_of_letters_is_shown_short(only_line):
    line = only_line("/".join(["folder"] * 1000))
    assert " … " in line and "File name too long" in line and len(line) < 700


def test_a_name_with_a_control_character(data_root, only_line):
    (data_root[0] / "images/s3.nii.gz").rename(data_root[0] / "images/s\x1b[31m.nii.gz")
    assert only_line("images/s\x1b[31m.nii.gz") == (
        "images/s\\x1b[31m.nii.gz: its path holds a control character; rename the file"
    )


def test_a_name_to_which_no_ending_can_be_added(data_root, only_line):
    name = "ä" * 120  # 240 bytes
    (data_root[0] / "images/s3.nii.gz").rename(data_root[0] / f"images/{name}.nii.gz")
    assert only_line(f"images/{name}.nii.gz").endswith(
        ": its name has more than 200 bytes; shorten it: segmentations are named by it, with an ending"
    )


def test_a_pipe_is_not_opened(data_root, only_line):
    os.mkfifo(data_root[0] / "pipe.nii.gz")
    assert only_line("pipe.nii.gz") == (
        "pipe.nii.gz: expected a file or a folder, found a pipe or device; name an image file"
    )


@pytest.mark.parametrize(
    ("patient", "fault"),
    [
        ("\udfff", "expected a name of letters that can be printed, found '\\udfff'; write a short name"),
        ("p" * 101, "expected a name of at most 100 letters, found 101; write a short name"),
    ],
)
def test_patients_that_cannot_be_printed(only_line, patient, fault):
    assert only_line(patient, "patient") == f"dataset.json: validation[0]: 'patient' {fault}"


@pytest.mark.parametrize("name", ["a/b", "..", ".a", "a\\b"])
def test_subjects_that_can_name_no_file(only_line, name):
    assert "'subject' expected a name that a file can have, found" in only_line(name, "subject")


def test_subjects_of_one_name_are_told_apart_by_the_key(data_root, describe):
    root, content = data_root
    (root / "images/q").mkdir()
    (root / "images/s3.nii.gz").rename(root / "images/q/s1.nii.gz")
    entry = {"image": "images/q/s1.nii.gz"}
    describe(root, content | {"validation": [entry]})
    with pytest.raises(
        InputError, match='name of its own: rename the files, or write "subject": "…" into the entries'
    ):
        ClientRoot.load(root)
    describe(root, content | {"validation": [entry | {"subject": "q s1"}]})
    assert ClientRoot.load(root).items("validation")[0]["subject"] == "q s1"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("b.mhd", "NDims = 3\nElementDataFile = ../../secret.raw\n"),
        ("b.mhd", "data file: LOCAL\rElementDataFile : ../../secret.raw\r"),
        ("b.mhd", "ElementDataFile = {folder}/secret.raw\n"),
        ("b.mhd", "ElementDataFile = LIST\n../../secret.raw\n"),
        ("b.nhdr", "NRRD0004\ndata file: ../../secret.raw\n"),
        ("b.nhdr", "NRRD0004\ndata file: ../../secre%1d.raw\n"),
        ("b.hdr", "header"),
        ("b.mha", "NDims = 3\nElementDataFile = ../../secret.raw\n"),
        ("b.mha", "NDims = 3\n\vElementDataFile = LISTED\n../../secret.raw é\n"),
        ("b.nrrd", "NRRD0004\ndata file: {folder}/secret.raw\n"),
    ],
)
def test_voxels_outside_the_root_are_refused_as_images_are(data_root, only_line, name, header):
    root, _ = data_root
    for secret in ("secret.raw", "secre1.raw"):
        (root.parent / secret).write_bytes(b"0")
    (root / "images" / name).write_text(header.format(folder=root.parent))
    (root / "images" / "b.img").symlink_to(root.parent / "secret.raw")
    told = only_line(f"images/{name}")
    assert re.search(
        r"b\.\w+: its voxels, .*(secre|b\.img).*, leave the root; move or copy that file into ", told
    )


@pytest.mark.parametrize(
    ("name", "header", "fault"),
    [
        ("b.mhd", "ElementDataFile = ../../secret%i.raw 1 4 1\n", "expected a pattern such as"),
        ("b.mhd", "ElementDataFile = ../../secret%01u.raw 1 4 1\n", "expected a pattern such as"),
        ("b.mhd", "ElementDataFile = x\r/../../secret.raw\n", "control characters"),
        ("b.nhdr", "NRRD0004\n" + "# x\n" * 280_000 + "data file: ../../secret.raw\n", "found a longer one"),
        ("b.mhd", "Comment = x\n" * 100_000 + "ElementDataFile = ../../secret.raw\n", "found a longer one"),
        ("b.mhd", "ElementDataFile = LIST\n" + "b.raw\n" * 180_000 + "../../secret.raw\n", "a longer one"),
    ],
)
def test_headers_that_hide_their_voxels_are_refused(data_root, only_line, name, header, fault):
    (data_root[0] / "images" / name).write_text(header, newline="")
    assert fault in only_line(f"images/{name}")


def test_voxels_behind_their_header_are_of_any_length(tmp_path):
    for name, header in (("b.mha", "NDims = 3\nElementDataFile = LOCAL\n"), ("b.nrrd", "NRRD0004\r\n\r\n")):
        (tmp_path / name).write_bytes(header.encode() + bytes(2**20))
        assert not list(header_faults(tmp_path / name))


def test_files_of_a_dicom_folder_that_are_links_out_of_the_root_are_refused(data_root, describe, only_line):
    root, content = data_root
    RIGHT["regular"].write(root / "kept")
    series = root / "images" / "p1"
    series.mkdir()
    for file in (root / "kept").iterdir():
        (series / file.name).symlink_to(file)
    describe(root, content | {"validation": [{"image": "images/p1"}]})
    assert ClientRoot.load(root)
    first = min(series.iterdir())
    secret = first.resolve().rename(root.parent / "secret")
    first.unlink()
    first.symlink_to(secret)
    assert f"p1: its voxels, {first}, leave the root; move or copy that file" in only_line("images/p1")


def test_voxels_inside_the_root_are_none_of_its_faults(data_root, describe):
    root, content = data_root
    (root / "images" / "b.mhd").write_text("ElementDataFile = ../voxels/b.raw\n")
    (root / "voxels").mkdir()
    (root / "voxels" / "b.raw").write_bytes(b"0")
    content["training"][0]["image"] = "images/b.mhd"
    describe(root, content)
    assert ClientRoot.load(root)
