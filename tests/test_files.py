from __future__ import annotations

import errno
import io
import os
import random
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from shared_components.errors import InputError, os_error_line
from shared_components.files import (
    inside,
    load_tensors,
    make_folder,
    remove_files,
    remove_tree,
    save_tensors,
    size,
    sweep,
    write_atomically,
    write_text,
)
from shared_components.inferers.case_writers import write_segmentation
from shared_components.seals import seal_archive


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
        InputError,
        match=r"folder\.nii\.gz: cannot be written \(Is a directory\); move the folder of that name away$",
    ):
        write(tmp_path / "folder.nii.gz")


@WRITERS
def test_a_full_disk_is_a_one_line_error_and_leaves_the_old_file(tmp_path, write):
    (tmp_path / "a.nii.gz").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # bytes a file: stands in for a disk without space
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
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
    with pytest.raises(
        InputError, match=r"bad\.pt: .*found a damaged file, or one of another kind; copy"
    ) as caught:
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


def flipped(content: bytes, places: int, seed: int = 0) -> Iterator[bytes]:
    """``content`` with one byte changed, at several places."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(places):
        place, change = (int(torch.randint(1, high, (), generator=random)) for high in (len(content), 256))
        yield content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]


def test_a_flipped_byte_or_a_missing_end_is_always_refused(tmp_path):
    path = save_tensors(tmp_path / "model.pt", {"model": {"a": torch.arange(3.0)}})
    whole = path.read_bytes()
    for damaged in (*flipped(whole, 200), whole[:-1], whole + b"\0", whole[:-71], b"", whole[4:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"model\.pt: expected a file of tensors written by torch\.save"):
            load_tensors(path)


def test_a_flipped_byte_in_a_tensor_of_plain_torch_save_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"a": torch.arange(50.0)}, path)
    whole = path.read_bytes()
    place = whole.index(torch.arange(50.0).numpy().tobytes())
    for damaged in flipped(whole[place : place + 200], 40):
        path.write_bytes(whole[:place] + damaged + whole[place + 200 :])
        with pytest.raises(InputError, match=r"data/0 is damaged"):
            load_tensors(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(InputError, match="the archive's end is not that of a whole file"):
        load_tensors(path)


def test_others_read_sealed_tensors_and_we_read_those_of_every_torch_save(tmp_path):
    content = {"a": torch.arange(3.0)}
    sealed = save_tensors(tmp_path / "sealed.pt", content)
    assert torch.equal(torch.load(sealed, weights_only=True, mmap=True)["a"], content["a"])
    for zipped in (True, False):
        torch.save(content, tmp_path / "plain.pt", _use_new_zipfile_serialization=zipped)
        assert torch.equal(load_tensors(tmp_path / "plain.pt")["a"], content["a"])


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """The order of the calls is the promise here: file, rename, folder."""
    calls, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda d: (calls.append(Path(f"/proc/self/fd/{d}").readlink().name), sync(d))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_text(tmp_path / "out" / "a.txt", "text")
    assert calls == ["a.txt", "replace", "out"]


def test_folders_are_made_and_removed_or_the_reason_is_one_line(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a").is_dir()
    (tmp_path / "a" / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a folder at \S+file, found a file; name"):
        make_folder(tmp_path / "a" / "file")
    long = tmp_path / "a" / ("b" * 300)
    with pytest.raises(InputError) as caught:
        make_folder(long)
    assert str(caught.value).startswith(
        f"{long}: cannot be made (File name too long); name a folder in a place"
    )
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path):
    for place in (
        ".writing-a1/half.pt",
        "clients/north/.writing-b2/half.nii.gz",
        "clients/north/kept.writing-",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    sweep(tmp_path)
    left = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))]
    assert left == ["clients", "clients/north", "clients/north/kept.writing-"]


def test_errors_of_the_file_system_are_one_line_and_others_are_not():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/log.txt")
    assert os_error_line(full) == (
        "out/log.txt: cannot be used (No space left on device); "
        "name a place that may be read and written, on a disk with space left"
    )
    assert os_error_line(FileNotFoundError(errno.ENOENT, "", "gone")).startswith(
        "gone: no such file or folder"
    )
    assert os_error_line(OSError(errno.EINVAL, "Invalid argument")) is None
    assert os_error_line(OSError("no number")) is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"hook": np.zeros(1)}, r"found numpy\.\S+, code that is not run; save the weights alone, "),
        ({"model": torch.nn.Linear(1, 1)}, r"found torch\.nn\.modules\.linear\.Linear, code that is not run"),
        (b"", "found an empty file; copy or write it again"),
        (None, "found a folder; check the path"),
        ([1], r"found list; save a network's state_dict\(\) in its place"),
    ],
)
def test_what_is_no_file_of_tensors_is_told_without_torchs_advice(tmp_path, content, found):
    path = tmp_path / "model.pt"
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=rf"^{path}: expected a \w+ of tensors.*{found}") as caught:
        load_tensors(path)
    assert not {"weights_only", "Errno", "\n"} & set(str(caught.value).replace("`", " ").split(" "))


def test_a_file_cut_at_any_place_is_told_without_the_name_of_a_system_call(tmp_path):
    whole = save_tensors(tmp_path / "whole.pt", {"a": torch.zeros(50)}).read_bytes()
    for length in range(1, len(whole), 7):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"found a damaged file[^;]+; copy or write it again$"):
            load_tensors(tmp_path / "cut.pt")


def test_torchscript_is_told_apart(tmp_path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "model.ts")
    with pytest.raises(InputError, match=r"model\.ts: .*found TorchScript; give the weights alone"):
        load_tensors(tmp_path / "model.ts")


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        (
            lambda: torch.sparse_coo_tensor([[2**40]], torch.ones(1), (4,), check_invariants=False),
            "a sparse tensor",
        ),
        (lambda: torch.sparse_coo_tensor([[0], [0]], torch.ones(1), (2**20, 2**20)), "a sparse tensor"),
        (
            lambda: torch.sparse_csr_tensor([0, 9], [0], torch.ones(1), (1, 1), check_invariants=False),
            "a sparse tensor",
        ),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
        (lambda: torch.zeros(1).expand(2**42), r"\(4398046511104,\) float32, of few values"),
        (lambda: torch.zeros(1).to(torch.float8_e5m2).expand(2**42), "float8_e5m2, of few values"),
        (lambda: torch.zeros(2**10).as_strided((2**9, 2**40), (1, 0)), "float32, of few values"),
    ],
)
def test_tensors_that_may_not_be_looked_at_are_refused_in_one_line(tmp_path, strange, told):
    """An index outside of a sparse tensor ends Python itself, and an expanded one needs all memory that there is."""
    torch.save({"model": {"w": strange()}}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=rf"a\.pt: expected dense tensors, 'model\.w' is .*{told}") as caught:
        load_tensors(tmp_path / "a.pt")
    assert len(str(caught.value).splitlines()) == 1


def test_a_type_that_cannot_be_looked_at_is_refused_and_views_are_loaded(tmp_path):
    torch.save({"w": torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: expected a file of tensors"):
        load_tensors(tmp_path / "a.pt")
    whole = torch.arange(12.0)
    views = {"whole": whole, "part": whole[::2], "turned": whole.view(3, 4).T, "same": whole[:1].expand(9)}
    torch.save(views, tmp_path / "b.pt")
    assert all(torch.equal(value, views[name]) for name, value in load_tensors(tmp_path / "b.pt").items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_neither_written_nor_loaded(tmp_path, value):
    path = save_tensors(tmp_path / "model.pt", {"model": {"a": torch.zeros(2)}})
    kept = path.read_bytes()
    content = {"model": {"a": torch.tensor([0.0, value])}}
    with pytest.raises(
        InputError, match=r"model\.pt: not written, since 'model\.a' holds NaN or infinite values"
    ):
        save_tensors(path, content)
    assert path.read_bytes() == kept
    torch.save(content, path)
    with pytest.raises(
        InputError, match=r"model\.pt: 'model\.a' holds NaN or infinite values; .* copy it again"
    ):
        load_tensors(path)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_800_000, "12.8 MB"), (3e14, "300 TB")],
)
def test_sizes_are_readable(count, text):
    assert size(count) == text


def pickled(value: bytes) -> bytes:
    """``{"description": value}``, the value as operations of a pickle."""
    return b"\x80\x02}X\x0b\0\0\0description" + value + b"s."


def names_itself(levels: int) -> bytes:
    """A tuple that holds itself twice, so many times over."""
    return b")" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(levels))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            pickled(b"cbuiltins\nbytearray\nJ\x00\x5e\xd0\xb2R"),
            r"found builtins\.bytearray, code that is not",
        ),
        (pickled(b"ctorch\nTensor\nJ\x00\xca\x9a\x3b\x85R"), r"found torch\.Tensor, code that is not run"),
        (pickled(b"ctorch.storage\nUntypedStorage\nJ\x00\xca\x9a\x3b\x85R"), "found a damaged file"),
        (pickled(b"}" + names_itself(60) + b"K\x01s"), "found a damaged file"),
        (
            pickled(b"ccollections\nOrderedDict\n](" + names_itself(60) + b"K\x01\x86e\x85R"),
            "found a damaged",
        ),
    ],
)
def test_a_small_file_that_asks_for_much_is_refused_at_once(tmp_path, content, found):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content)
        archive.writestr("model/version", "3\n")
    with pytest.raises(InputError, match=rf"model\.pt: expected a file of tensors .*{found}"):
        load_tensors(path)
    torch.save({}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x80\x02}q\x00.\x80\x02]", content + b"\x80\x02]"))
    assert path.read_bytes() != whole
    with pytest.raises(InputError, match=rf"model\.pt: expected a file of tensors .*{found}"):
        load_tensors(path)


def test_lists_that_hold_one_another_without_end_are_refused_at_once(tmp_path):
    """Nothing is done for a list that holds itself twice, forty times over, by who compares or prints it."""
    twice: list = []
    for _ in range(30):
        twice = [twice, twice]
    itself: list = []
    itself.append(itself)
    for content, told in ((twice, r"more than \d+ values"), (itself, "more than 32 levels")):
        torch.save({"model": {}, "description": {"labels": content}}, tmp_path / "a.pt")
        with pytest.raises(InputError, match=rf"a\.pt: expected tensors and plain values, found {told}"):
            load_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("sealed", [True, False])
def test_a_compressed_file_of_tensors_is_refused(tmp_path, sealed):
    path, packed = save_tensors(tmp_path / "model.pt", {"a": torch.zeros(10**6)}), io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    if sealed:
        seal_archive(packed)
    path.write_bytes(packed.getvalue())
    with pytest.raises(
        InputError, match=r"found a damaged file \(.+ is compressed\); copy or write it again"
    ):
        load_tensors(path)


def test_all_that_training_keeps_is_loaded_as_it_was(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    shared = (0.9, 0.999)
    content = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "python": random.getstate(),
        "scaler": {"scale": 1.0, "kept": None, "on": True, "count": 2**40, "all": [shared] * 50},
        "parameter": network[0].weight,
        "types": [torch.ones(2, dtype=kind) for kind in (torch.float64, torch.bfloat16, torch.bool)],
        "shape": network[0].weight.shape,
        "schedule": torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2]).state_dict(),
        "names": {"north", "south"},
        "dtype": torch.float32,
    }
    for zipped in (False, True):
        content |= {"counts": torch.ones(2, dtype=torch.uint16)} if zipped else {}
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        expected = torch.load(tmp_path / "a.pt", weights_only=True)
        found = load_tensors(tmp_path / "a.pt")
        assert found.pop("names") == expected.pop("names") and str(found) == str(expected)
