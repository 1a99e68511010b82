"""What the rooms of the code promise one another: floors, docstrings, settings that stand once."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_targets import resolve

REPO = Path(__file__).parents[1]
COMPONENTS = REPO / "shared_components"
BUNDLES = ("factory", "adaptation", "segmentation")
FLOORS = (  # a room imports from floors below its own, and from its own floor's other rooms where that is no circle
    ("",),  # modules in no room
    ("data",),
    ("networks",),
    ("losses", "inferers"),
    ("metrics", "engines"),
    ("handlers",),
    ("audit", "choice"),
    ("latents", "report"),
    ("federation", "packaging"),
    ("study",),
    ("benchmarks",),
)
OFF = (None, False, True, 0, 1, (), "")  # a default that leaves something out, or as it is
MODULES = {
    ".".join(file.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): file
    for folder in ("shared_components", "scripts")
    for file in (REPO / folder).rglob("*.py")
}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in MODULES.items()}


def room(module: str) -> str:
    part = module.split(".")[1]
    return part if (COMPONENTS / part).is_dir() else ""


def imported(name: str, nodes: Iterable[ast.AST] | None = None) -> Iterator[str]:
    """Own modules that a module imports, wherever in it the import stands, or in ``nodes`` of it alone."""
    for node in ast.walk(TREES[name]) if nodes is None else nodes:
        if isinstance(node, ast.ImportFrom):
            found = {f"{node.module}.{alias.name}": str(node.module) for alias in node.names}
            yield from (name if name in MODULES else module for name, module in found.items())
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def test_imports_lead_down_the_floors():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        for other in imported(name)
        if name.startswith("shared_components.")
        and other.startswith("shared_components.")
        and other in MODULES
        if room(name) != room(other) and floor[room(name)] <= floor[room(other)]
    ]
    assert wrong == []


def test_no_modules_need_one_another_to_be_imported():
    graph = {name: {*imported(name, tree.body)} & MODULES.keys() - {name} for name, tree in TREES.items()}
    order = list(TopologicalSorter(graph).static_order())  # CycleError names the circle
    assert sorted(order) == sorted(MODULES)


def public(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public classes and functions of a module; what a method does its class may tell."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            yield node


def test_modules_and_public_names_have_docstrings():
    silent = [name for name, tree in TREES.items() if tree.body and ast.get_docstring(tree) is None]
    silent += [
        f"{name}.{node.name}"
        for name, tree in TREES.items()
        for node in public(tree.body)
        if ast.get_docstring(node) is None
    ]
    assert silent == []


def configs(bundle: str) -> dict[str, dict[str, Any]]:
    files = sorted((REPO / "bundles" / bundle / "configs").glob("*.yaml"))
    return {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) or {} for file in files}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_key_of_a_config_is_read(bundle):
    """By another value of the bundle's configs, or by name in the code."""
    values = "\n".join(str(content) for content in configs(bundle).values())
    code = "\n".join(file.read_text(encoding="utf-8") for file in MODULES.values())
    keys = {re.split("#|::", key.lstrip("+-~"))[0] for content in configs(bundle).values() for key in content}
    unread = [
        key for key in keys
        if not re.search(rf"[@%]{key}\b", values) and not re.search(rf"[\"']{key}[\"'#:]", code)
    ]  # fmt: skip
    assert sorted(unread) == [] and len(keys) > 20


def made(value: Any, config: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Class or function, argument and value of every object that a config makes of ours."""
    if isinstance(value, list):
        for part in value:
            yield from made(part, config)
    if isinstance(value, dict):
        for part in value.values():
            yield from made(part, config)
        target = str(value.get("_target_", ""))
        if target.startswith("shared_components."):
            yield target, "", None
            yield from ((target, key, plain(part, config)) for key, part in value.items())


def plain(value: Any, config: dict[str, Any]) -> Any:
    """What a reference to a top-level key leads to."""
    while isinstance(value, str) and value[:1] == "@" and value[1:] in config:
        value = config[value[1:]]
    return tuple(value) if isinstance(value, list) else value


def is_number(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return (
        all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts) and parts != ()
    )


def test_no_default_contradicts_what_every_config_says():
    """Such an argument is a required keyword: its value stands once, in the config."""
    uses: dict[str, int] = {}
    given: dict[tuple[str, str], list[Any]] = {}
    for bundle in BUNDLES:
        common = configs(bundle)["common.yaml"]
        for content in configs(bundle).values():
            for target, key, value in made(content, {**common, **content}):
                uses[target] = uses.get(target, 0) + (key == "")
                given.setdefault((target, key), []).append(value)
    contradicting = []
    for target, count in uses.items():
        for key, parameter in inspect.signature(resolve(target)).parameters.items():
            values = given.get((target, key), [])
            always = len(values) == count and all(map(is_number, values))
            if always and is_number(parameter.default) and parameter.default not in (*OFF, *values):
                contradicting.append(f"{target}({key}={parameter.default}): configs say {values}")
    assert contradicting == []
