"""What the repository promises: pins, sizes, scripts that run on any machine, files that the README shows."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml

import shared_components
from shared_components.data.spinal_cord import make_spinal_cord
from shared_components.federation.federation_file import read_federation
from shared_components.study.client_stages import study_stages
from shared_components.study.roles import plan_study
from tests.federation.tiny import make_root

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
SCRIPTS = ("scripts/quickstart.sh", "scripts/test.sh", ".ci/run")
OWN = {"shared_components", "scripts", "tests"}
INDIRECT = {  # used without being imported here
    "tensorboard",  # by torch.utils.tensorboard
    "itk",  # by MONAI's readers
    "jsonschema",  # by MONAI's verify_metadata
    "onnx",  # by MONAI's onnx_export
    "onnxscript",  # by torch.onnx
    "pytest-xdist",
    "ruff",
    "mypy",
}


NAMED_OTHERWISE = {"open_clip": ("open_clip_torch",)}  # of an extra that tests do without


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines) -> dict[str, str]:
    """Distribution to version; every requirement must be exactly pinned."""
    found = {}
    for line in lines:
        text = line.split("#")[0].strip()
        if text:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", text)
            assert match, f"{text}: expected name==version"
            found[normal(match[1])] = match[2]
    return found


PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
REQUIREMENTS = pins((REPO / "requirements.txt").read_text().splitlines())
TEST_TOOLS = pins(PROJECT["optional-dependencies"]["test"])
# what single modules need, imported there and nowhere else
EXTRAS = {
    name: version
    for extra, lines in PROJECT["optional-dependencies"].items()
    if extra != "test"
    for name, version in pins(lines).items()
}


def files() -> list[Path]:
    """What a commit of everything would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [REPO / name for name in listed.stdout.split("\0") if name and (REPO / name).is_file()]


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """File and top-level package of every import of others' packages."""
    for file in sorted((REPO / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in {str(name).split(".")[0] for name in names} - OWN - sys.stdlib_module_names:
                yield str(file.relative_to(REPO)), name


def distributions(folder: str) -> dict[str, str]:
    """Distribution of every imported package, with a file that imports it."""
    providers, pinned = packages_distributions(), REQUIREMENTS | TEST_TOOLS | EXTRAS
    found = {}
    for file, name in imported(folder):
        named = (*providers.get(name, ()), *NAMED_OTHERWISE.get(name, ()), name)
        candidates = [normal(provider) for provider in named]
        found[next((c for c in candidates if c in pinned), candidates[0])] = file
    return found


def test_what_is_imported_is_pinned_and_what_is_pinned_is_used():
    shipped = {**distributions("shared_components"), **distributions("scripts")}
    assert {name: file for name, file in shipped.items() if name not in REQUIREMENTS | EXTRAS} == {}
    tested = distributions("tests")
    assert {n: file for n, file in tested.items() if n not in REQUIREMENTS | TEST_TOOLS | EXTRAS} == {}
    assert (REQUIREMENTS | TEST_TOOLS | EXTRAS).keys() - shipped.keys() - tested.keys() - INDIRECT == set()


def test_pinned_versions_are_those_that_run():
    absent = {normal(name) for names in NAMED_OTHERWISE.values() for name in names}
    wanted = {n: v for n, v in (REQUIREMENTS | TEST_TOOLS | EXTRAS).items() if n not in absent}
    assert {name: version(name).split("+")[0] for name in wanted} == wanted


def test_changelog_has_this_version():
    assert f"\n## {shared_components.__version__}" in (REPO / "CHANGELOG.md").read_text()


def test_no_file_is_large():
    demo = {file: file.stat().st_size for file in REPO.glob("bundles/*/models/demo*.pt")}
    assert len(demo) == 4 and max(demo.values()) <= 5_000_000
    assert [f"{f}" for f in files() if f.stat().st_size > 1_000_000 and f not in demo] == []


def test_no_path_of_one_machine():
    home = re.compile(r"(?<![\w.~}])/(?:home|root|Users|work)/\w")
    found = []
    for file in files():
        content = file.read_bytes()
        if b"\0" not in content and file != Path(__file__):
            text = content.decode("utf-8")
            found += [f"{file}: {line.strip()}" for line in text.splitlines() if home.search(line)]
    assert found == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_shell_scripts_are_sound(script):
    assert "\nset -euo pipefail\n" in (REPO / script).read_text()
    assert subprocess.run(["bash", "-n", script], cwd=REPO).returncode == 0
    assert os.access(REPO / script, os.X_OK)


@pytest.mark.parametrize("script", ["quickstart", "demo_weights", "test"])
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_of_shell_scripts_is_their_head_and_nothing_runs(script, word, tmp_path):
    shutil.copytree(REPO / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    command = ["bash", tmp_path / "scripts" / f"{script}.sh", "--smoke", word]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    head = (REPO / "scripts" / f"{script}.sh").read_text().split("\nset -euo")[0].splitlines()[1:]
    assert ended.stdout.splitlines() == [line.removeprefix("#").removeprefix(" ") for line in head]
    assert [path.name for path in tmp_path.iterdir()] == ["scripts"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_old_interpreter_is_refused(script, tmp_path):
    for name in ("scripts", ".ci"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    old.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(old)}
    ended = subprocess.run(["bash", tmp_path / script], env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"error: {old}: expected Python 3.11 or later, found Python 3.8.1; "
        "name one with PYTHON=/path/to/python3.11\n"
    )
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("arguments", [["--data"], ["--data=knees"], ["--smoke", "--data", "spine"]])
def test_quickstart_refuses_data_that_it_does_not_have(arguments):
    command = ["bash", str(REPO / "scripts" / "quickstart.sh"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    found = arguments[-1].removeprefix("--data").removeprefix("=")
    assert ended.returncode == 2
    assert ended.stderr == f"error: --data: expected heads, or spine without --smoke, found '{found}'\n"


@pytest.mark.parametrize(("name", "updates"), [("quickstart", 100), ("spine", 300)])
def test_studies_of_real_hospitals_can_run(name, updates, tmp_path, monkeypatch):
    make_spinal_cord(tmp_path / "outputs" / name / "data")
    (tmp_path / "bundles").symlink_to(REPO / "bundles")
    file = shutil.copy(REPO / "scripts" / f"{name}.yaml", tmp_path / "federation.yaml")
    monkeypatch.chdir(tmp_path)
    study = plan_study(read_federation(file))
    assert (study.sources, len(study.targets)) == (("ceitec",), 5)
    stages = {stage.key: stage for stage in study_stages(study)}
    assert {f"{name}/choice" for name in study.targets} < stages.keys()
    assert stages["milan/adaptation"].overrides["phases"] == [0, updates, updates]


@pytest.mark.parametrize("name", ["heads", "quickstart_smoke"])
def test_studies_of_heads_can_run(name, tmp_path, monkeypatch):
    content = yaml.safe_load((REPO / "scripts" / f"{name}.yaml").read_text())
    (tmp_path / "bundles").symlink_to(REPO / "bundles")
    for client in content["clients"].values():
        root = make_root(tmp_path / client["data_root"], client["domain"], images=3, seed=0)
        if client["domain"] != "t1":
            unlabel(root)
    file = shutil.copy(REPO / "scripts" / f"{name}.yaml", tmp_path / "federation.yaml")
    monkeypatch.chdir(tmp_path)
    study = plan_study(read_federation(file))
    assert (study.source, set(study.targets)) == ("north", {"south", "island"})
    assert {"island/adaptation", "south/adaptation"} < {stage.key for stage in study_stages(study)}


def test_readme_federation_runs_and_states_the_defaults(tmp_path, monkeypatch):
    text = re.search(r"```yaml\n(name: two-hospitals\n.*?)```", README, flags=re.DOTALL)[1]
    content = yaml.safe_load(text)
    (tmp_path / "bundles").symlink_to(REPO / "bundles")
    for client in content["clients"].values():
        make_root(tmp_path / client["data_root"], client["domain"], images=3, seed=0)
    unlabel(tmp_path / "data" / "south")
    (tmp_path / "federation.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    study = plan_study(read_federation("federation.yaml"))
    assert (study.source, study.targets) == ("north", ("south",)) and study_stages(study)
    for section in ("pretrain", "synthesize", "train", "self_training"):
        defaults = yaml.safe_load((REPO / f"bundles/adaptation/configs/{section}.yaml").read_text())
        (key, value), *others = content["study"].pop(section).items()
        assert defaults[key] == value and not others
    assert content["study"] == {}


def unlabel(root: Path) -> None:
    file = root / "dataset.json"
    description = json.loads(file.read_text())
    description["training"] = [{"image": item["image"]} for item in description["training"]]
    file.write_text(json.dumps(description))


@pytest.mark.parametrize("folder", ["bundles", "scripts"])
def test_configs_are_plain_ascii(folder):
    """MONAI reads them in the machine's encoding, which need not be UTF-8."""
    files = [
        f for f in (REPO / folder).rglob("*") if f.suffix in (".yaml", ".json") and "outputs" not in f.parts
    ]
    assert [f.name for f in files if not f.read_text(encoding="utf-8").isascii()] == [] and files
