from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import shared_components
from shared_components.packaging.archive import (
    copy_components,
    reached_files,
    rewrite_zip,
    write_checksum,
    write_zip,
)
from shared_components.packaging.settings import workflow_files


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


COMPONENTS = Path(shared_components.__file__).parent
BUNDLES = COMPONENTS.parent / "bundles"
ABSENT = ("federation", "study", "benchmarks", "packaging", "data/challenges", "data/spinal_cord")
CODE = {
    "__init__.py": "",
    "report/__init__.py": "",
    "report/__main__.py": "def late():\n    import shared_components.files\n",
    "files.py": "",
    "data/__init__.py": "from shared_components.data.slices import Slices\n",
    "data/slices.py": "TARGET = 'shared_components.networks.unet.UNet'\nTOLD = 'see shared_components.unused'\n",
    "data/challenges/__init__.py": "",
    "networks/__init__.py": "",
    "networks/unet.py": "from shared_components import sizes\nimport torch\n",
    "networks/other.py": "",
    "sizes.py": "",
    "unused.py": "",
}


def test_imports_are_followed_wherever_they_stand(tmp_path):
    source = tmp_path / "shared_components"
    for name, text in CODE.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    (tmp_path / "inference.json").write_text('{"imports": ["$import shared_components.data.slices as s"]}')
    found = {
        file.relative_to(source).as_posix() for file in reached_files(source, [tmp_path / "inference.json"])
    }
    assert found == CODE.keys() - {"data/challenges/__init__.py", "networks/other.py", "unused.py"}


def test_packages_hold_what_the_bundles_reach_and_nothing_else(tmp_path):
    copy_components(COMPONENTS, tmp_path, workflow_files(BUNDLES))
    assert [name for name in ABSENT if (tmp_path / name).exists()] == []
    assert (tmp_path / "data/phantoms/colin27/head_2mm.nii.gz").is_file()
    assert (tmp_path / "report/templates/base.html").is_file()
    assert sorted(file.name for file in (tmp_path / "data/phantoms").glob("*.py")) == []


def test_workflows_of_every_bundle_are_followed():
    names = {file.parent.parent.name for file in workflow_files(BUNDLES)}
    assert names == {"factory", "adaptation", "segmentation"}
