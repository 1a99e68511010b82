"""Paths that no system can look up, and names that no output can have: one line each."""

from __future__ import annotations

import os

import pytest

from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.errors import InputError


@pytest.fixture
def only_line(data_root, describe):
    """Check the data root with an image in place of s3, expect one problem, return its line."""
    root, content = data_root

    def check(image: str, key: str = "image") -> str:
        describe(root, content | {"validation": [{"image": "images/s3.nii.gz"} | {key: image}]})
        (problem,) = check_client_root(root)
        with pytest.raises(InputError) as told:
            ClientRoot.load(root)
        assert str(told.value) == str(problem)
        return str(problem).removeprefix(f"{root}/")

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
