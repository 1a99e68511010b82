"""Names that configs and documents give: what they lead to in the strictest Python.

Since Python 3.12.3 ``pydoc.locate``, which MONAI resolves ``_target_`` with, prefers a module to a name of the same
spelling that its package exports; earlier ones prefer the exported name. So neither may stand in for the other.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from monai.bundle import ComponentLocator

import shared_components

REPO = Path(__file__).parents[1]
DOCUMENTS = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(REPO.glob("bundles/*/docs/*.md")),
    *sorted(REPO.glob("shared_components/**/README.md")),
]
CONFIGS = sorted(
    file
    for folder in ("bundles", "scripts", "tests")
    for kind in ("*.yaml", "*.json")
    for file in (REPO / folder).rglob(kind)
)


@cache
def monai_names() -> ComponentLocator:
    return ComponentLocator()


def strings(value: object) -> list[tuple[str, str]]:
    """Every text of a config with the key it stands at, lists of texts under the key of the list."""
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in keyed(str(key), part)]
    return [pair for part in value for pair in strings(part)] if isinstance(value, list) else []


def keyed(key: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(key, value)]
    if isinstance(value, list):
        return [pair for part in value for pair in keyed(key, part)]
    return strings(value)


def texts(file: Path) -> list[tuple[str, str]]:
    """The same of a config file; of a document, whatever reads as ``_target_: name`` or ``$import ...``."""
    if file.suffix != ".md":
        return strings(yaml.safe_load(file.read_text(encoding="utf-8")))
    text = file.read_text(encoding="utf-8")
    targets = re.findall(r"_target_[\"']?: *[\"']?(\w[\w.]*)", text)
    expressions = re.findall(r"(\$(?:import|from) [^\n`\"']+)", text)
    named = re.findall(r"\bshared_components(?:\.\w+)+\.[A-Z]\w+", text)
    return [*(("_target_", t) for t in [*targets, *named]), *(("", e.strip()) for e in expressions)]


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def resolve(name: str) -> object:
    """What ``pydoc.locate`` gives where modules come first."""
    parts = name.split(".")
    length = max((n for n in range(1, len(parts) + 1) if is_module(".".join(parts[:n]))), default=0)
    if not length:
        raise ModuleNotFoundError(name)
    found = importlib.import_module(".".join(parts[:length]))
    for part in parts[length:]:
        found = getattr(found, part)
    return found


def check_target(name: str) -> None:
    """Raises: AssertionError, AttributeError, ModuleNotFoundError: the name is no class or function."""
    if "." not in name:
        assert monai_names().get_component_module_name(name), name
    else:
        assert callable(resolve(name)), f"{name}: a module, not a class or function"


def check_import(statement: str) -> None:
    """A ``$import`` names modules, not names that hide them; a ``$from`` gives names that are there."""
    node = ast.parse(statement).body[0]
    for alias in node.names:
        if isinstance(node, ast.Import):
            assert isinstance(resolve(alias.name), ModuleType), statement
            package, _, last = alias.name.rpartition(".")
            hidden = package and getattr(importlib.import_module(package), last)
            assert not package or isinstance(hidden, ModuleType), statement
        else:
            resolve(f"{node.module}.{alias.name}")


def fault(check: Callable[[str], None], text: str) -> str:
    """What ``check`` raises, in words; empty if nothing."""
    try:
        check(text)
    except (AssertionError, AttributeError, ModuleNotFoundError) as error:
        return f"{text}: {error}"
    return ""


@pytest.mark.parametrize("file", [*CONFIGS, *DOCUMENTS], ids=lambda file: file.relative_to(REPO).as_posix())
def test_every_target_and_import_resolves(file):
    targets = [
        text
        for key, text in texts(file)
        if key == "_target_" and text[0] not in "$@" and not text.startswith("tiny_hooks.")
    ]
    imports = [text[1:] for _, text in texts(file) if re.match(r"\$(import|from) ", text)]
    faults = [fault(check_target, name) for name in targets]
    faults += [fault(check_import, statement) for statement in imports]
    assert [line for line in faults if line] == []


def test_texts_are_found():
    common = texts(REPO / "bundles/adaptation/configs/train.yaml")
    assert ("_target_", "shared_components.data.datalist") in common
    assert ("imports", "$import torch") in texts(REPO / "bundles/factory/configs/common.yaml")
    assert ("_target_", "shared_components.federation.FedBN") in texts(
        REPO / "shared_components/federation/README.md"
    )


@pytest.mark.parametrize(
    "name", ["shared_components.data", "shared_components.data.nothing", "nowhere.Thing", "NoSuchNetwork"]
)
def test_wrong_target_is_refused(name):
    assert fault(check_target, name).startswith(f"{name}: ")


def packages() -> list[ModuleType]:
    walked = pkgutil.walk_packages(shared_components.__path__, "shared_components.")
    return [shared_components, *(importlib.import_module(found.name) for found in walked if found.ispkg)]


def test_no_public_name_is_also_a_module_of_its_package():
    clashes = []
    for package in packages():
        modules = [found.name for found in pkgutil.iter_modules(package.__path__)]
        for module in modules:
            importlib.import_module(f"{package.__name__}.{module}")
        exported = set(getattr(package, "__all__", ()))
        clashes += [
            f"{package.__name__}.{module}"
            for module in modules
            if module in exported or not isinstance(getattr(package, module), ModuleType)
        ]
    assert clashes == []
