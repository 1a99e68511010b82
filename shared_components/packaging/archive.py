"""Files of a package: what of the code goes in, and a zip that is the same bytes for the same files."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from shared_components.files import make_folder, write_atomically, write_text
from shared_components.packaging.reach import reached_files

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can state


def copy_components(source: Path, target: Path, configs: Iterable[Path]) -> None:
    """Copy what of ``shared_components`` a package needs; arguments as of :func:`reached_files`."""
    for file in reached_files(source, configs):
        copy = target / file.relative_to(source)
        make_folder(copy.parent)
        shutil.copyfile(file, copy)


def write_zip(folder: Path, path: Path) -> Path:
    """All files of ``folder``, under its name, as a zip that depends on nothing but their names and contents.

    Nothing is compressed, since compressors differ between machines.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                _add(archive, f"{folder.name}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    return write_atomically(path, write)


def rewrite_zip(path: Path, wanted: Callable[[str], bool]) -> None:
    """Keep the ``wanted`` members of a zip alone, in their order."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist() if wanted(name)]

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in members:
                _add(archive, name, content)

    write_atomically(path, write)


def write_checksum(path: Path) -> Path:
    """``<path>.sha256``, as ``sha256sum --check`` reads it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return write_text(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # a plain file, also when packed on Windows
    archive.writestr(entry, content)
