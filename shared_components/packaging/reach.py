"""Which files of the code packages need: what configs and the report lead to, import by import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

REPORT = "shared_components.report.__main__"  # run by name, to look at what was made
BESIDE = (
    "report/templates",  # of the report's pages
    "data/phantoms/colin27",  # a head to try a package with, and its licence
)
_NAME = re.compile(r"\bshared_components(?:\.\w+)+")


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
