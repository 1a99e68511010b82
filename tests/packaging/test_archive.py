from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

from shared_components.packaging.archive import rewrite_zip, write_checksum, write_zip


def folder_of(place: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        file = place / "package" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        os.utime(file, (number, number))
    return place / "package"


def test_the_same_files_give_the_same_bytes(tmp_path):
    one = folder_of(tmp_path / "one", ["b/c.txt", "a.txt"])
    two = folder_of(tmp_path / "two", ["a.txt", "b/c.txt"])
    (two / "a.txt").chmod(0o600)
    zips = [write_zip(folder, folder.parent / f"{folder.parent.name}.zip") for folder in (one, two)]
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        assert archive.namelist() == ["package/a.txt", "package/b/c.txt"]
        assert archive.read("package/b/c.txt") == b"b/c.txt"
    (two / "a.txt").write_text("other")
    assert write_zip(two, zips[1]).read_bytes() != zips[0].read_bytes()


def test_the_checksum_is_what_sha256sum_reads(tmp_path):
    (tmp_path / "package.zip").write_bytes(b"content")
    file = write_checksum(tmp_path / "package.zip")
    assert file.read_text() == f"{hashlib.sha256(b'content').hexdigest()}  package.zip\n"
    subprocess.run(["sha256sum", "--check", "--status", file.name], cwd=tmp_path, check=True)


def test_members_that_are_not_wanted_leave_a_zip(tmp_path):
    path = write_zip(folder_of(tmp_path, ["a.py", "a.debug"]), tmp_path / "a.zip")
    rewrite_zip(path, lambda name: not name.endswith(".debug"))
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"package/a.py": b"a.py"}
