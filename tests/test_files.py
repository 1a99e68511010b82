from __future__ import annotations

import resource

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.files import (
    inside,
    load_tensors,
    remove_files,
    save_tensors,
    write_atomically,
    write_text,
)
from shared_components.inferers.segmentation_writer import write_segmentation


def test_text_and_tensors_come_back(tmp_path):
    content = {"model": {"a": torch.arange(3.0)}, "round": 2, "names": ["x"]}
    loaded = load_tensors(save_tensors(tmp_path / "new" / "a.pt", content))
    assert torch.equal(loaded["model"]["a"], torch.arange(3.0))
    assert loaded["round"] == 2 and loaded["names"] == ["x"]
    assert write_text(tmp_path / "t.txt", "näher\n").read_text(encoding="utf-8") == "näher\n"


def test_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "a.nii.gz", "old")

    def fails(temporary):
        assert temporary.name == "a.nii.gz" and temporary != path
        temporary.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, fails)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


WRITERS = pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "a" * 5000),
        lambda path: save_tensors(path, {"a": torch.zeros(5000)}),
        lambda path: write_segmentation(path, np.eye(90)[..., None].repeat(90, 2), "scan.nrrd", np.eye(4)),
    ],
    ids=["text", "tensors", "segmentation"],
)


@WRITERS
def test_a_folder_that_cannot_be_made_is_a_one_line_error(tmp_path, write):
    (tmp_path / "taken").write_text("kept")
    for place in ("taken/a.nii.gz", "taken/sub/a.nii.gz"):
        with pytest.raises(
            InputError, match=r"a\.nii\.gz: expected a folder at \S+/taken, found a file; name "
        ):
            write(tmp_path / place)
    assert (tmp_path / "taken").read_text() == "kept"
    long = "n" * 300  # longer than a name may be; unlike a missing permission this also holds for root
    with pytest.raises(InputError, match=r"its folder cannot be made \(File name too long\); name [^\n]+$"):
        write(tmp_path / long / "a.nii.gz")


@WRITERS
def test_a_file_that_cannot_be_written_is_a_one_line_error(tmp_path, write):
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(
        InputError, match=r"folder\.nii\.gz: cannot be written \(Is a directory\); name [^\n]+$"
    ):
        write(tmp_path / "folder.nii.gz")


@WRITERS
def test_a_full_disk_is_a_one_line_error_and_leaves_the_old_file(tmp_path, write):
    (tmp_path / "a.nii.gz").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (100, limits[1])
    )  # bytes a file: stands in for a disk without space
    try:
        with pytest.raises(
            InputError, match=r"a\.nii\.gz: cannot be written \(File too large\); .* disk with space"
        ):
            write(tmp_path / "a.nii.gz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a.nii.gz").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_text("")
    assert write_text(tmp_path / "a", "").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_unreadable_files_are_one_line_errors(tmp_path):
    with pytest.raises(InputError, match=r"gone\.pt: expected a file of tensors, found none"):
        load_tensors(tmp_path / "gone.pt")
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"bad\.pt: .*could not read it") as caught:
        load_tensors(tmp_path / "bad.pt")
    assert "\n" not in str(caught.value)
    whole = save_tensors(tmp_path / "whole.pt", {"a": torch.zeros(1000)}).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.pt"):
        load_tensors(tmp_path / "cut.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(InputError, match="found list"):
        load_tensors(tmp_path / "list.pt")


def test_objects_are_not_unpickled(tmp_path):
    torch.save({"hook": tmp_path}, tmp_path / "object.pt")
    with pytest.raises(InputError, match=r"object\.pt"):
        load_tensors(tmp_path / "object.pt")


def test_inside(tmp_path):
    assert inside(tmp_path, "a/b.nii") == tmp_path.resolve() / "a" / "b.nii"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    for path in ("../x", "/etc/hosts", "link/x"):
        with pytest.raises(InputError, match="leaves"):
            inside(tmp_path / "root", path)


def test_remove_files_tolerates_missing(tmp_path):
    path = write_text(tmp_path / "a", "")
    remove_files(path, path)
    assert not path.exists()


@pytest.mark.parametrize("text", ["text", "PK", "K", "<html>", '{"a": 1}', "h", "j"])
def test_text_in_place_of_tensors_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "model.pt").write_text(text)
    with pytest.raises(InputError, match=r"model\.pt: expected a file of tensors") as caught:
        load_tensors(tmp_path / "model.pt")
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused_or_read_whatever_the_damage(tmp_path):
    whole = save_tensors(tmp_path / "model.pt", {"model": {"a": torch.arange(3.0)}}).read_bytes()
    random = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(200):
        place, value = torch.randint(0, len(whole), (2,), generator=random).tolist()
        (tmp_path / "model.pt").write_bytes(whole[:place] + bytes([value % 256]) + whole[place + 1 :])
        try:
            load_tensors(tmp_path / "model.pt")
        except InputError:
            refused += 1
    assert refused > 50
