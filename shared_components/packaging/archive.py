"""Files of a package: which of the code it needs, import by import, and a zip of the same bytes for the same files."""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from shared_components.files import make_folder, write_atomically, write_text

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can state
REPORT = "shared_components.report.__main__"  # run by name, to look at what was made
BESIDE = (
    "report/templates",  # of the report's pages
    "data/phantoms/colin27",  # a head to try a package with, and its licence
)
_NAME = re.compile(r"\bshared_components(?:\.\w+)+")


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


def reached_files(source: Path, configs: Iterable[Path]) -> list[Path]:
    """Files below ``source`` that configs and the report lead to, with what lies beside the code.

    Args:
        source: the folder ``shared_components``.
        configs: files that name classes, functions and modules of it.
    """
    entries = {name for file in configs for name in _NAME.findall(file.read_text(encoding="utf-8"))}
    todo = [*entries, REPORT]
    files: set[Path] = set()
    while todo:
        new = set(_files(source, todo.pop())) - files
        files |= new
        todo += [name for file in new for name in _imports(file)]
    beside = (file for folder in BESIDE for file in (source / folder).glob("*"))
    return sorted(files | {file for file in beside if file.is_file()})


def _files(source: Path, name: str) -> Iterator[Path]:
    """The modules that a dotted name leads through: its packages, and itself if it is one."""
    place = source
    for part in name.split(".")[1:]:
        yield place / "__init__.py"
        place /= part
        if place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
        if not place.is_dir():
            return
    yield place / "__init__.py"


def _imports(file: Path) -> Iterator[str]:
    """Dotted names in a module, of imports wherever they stand and of texts that are nothing else."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names if _is_own(node.module))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_own(alias.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
            yield node.value


def _is_own(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "shared_components"
