"""Packages unpacked in an empty folder, in a virtual environment of only what they name: all that they are for runs.

The environment links to what this one has of what they name, and what that asks for in turn. With ``--thorough`` pip
installs it as well, which takes 2.5 GB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from tests.packaging.small import NAMES, SCHEMA, SEGMENTING

BY_PIP = (pytest.mark.thorough, pytest.mark.fresh)
HEAD = "shared_components/data/phantoms/colin27/head_2mm.nii.gz"
RUNNER = """
import importlib.util, json, sys
from monai import bundle
for function, arguments in json.loads(sys.argv[1]):
    getattr(bundle, function)(**arguments)
import shared_components
print(shared_components.__file__)
print(*(name for name in ("pytest", "ruff", "jsonschema", "onnx") if importlib.util.find_spec(name)))
"""
CONFIGS = {"meta_file": "configs/metadata.json", "config_file": "configs/inference.json"}
# which network, and where its weights are
EXPORTED = {name: {"net_id": "network_def"} for name in SEGMENTING}
EXPORTED |= {"factory": {"net_id": "drawer_def", "key_in_ckpt": "model"}}
INPUTS = {name: [1, 1, 64, 64] for name in SEGMENTING} | {"factory": [1, 16]}


@pytest.fixture(scope="module")
def unpacked(packages, tmp_path_factory) -> Path:
    """A folder with the three packages, from their zips."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name in NAMES:
        with zipfile.ZipFile(packages[name].zip) as archive:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def requirements(unpacked) -> list[str]:
    """What the packages' ``requirements.txt`` asks for."""
    wanted = {(unpacked / name / "requirements.txt").read_text() for name in NAMES}
    assert len(wanted) == 1, (
        "the three packages ask for different versions, so they do not share an environment"
    )
    return [line for line in wanted.pop().splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module", params=["linked", pytest.param("installed", marks=BY_PIP)])
def interpreter(request) -> Path:
    """Python of a new virtual environment with what the packages' ``requirements.txt`` lists."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def linked(requirements, tmp_path_factory) -> Path:
    return link(tmp_path_factory.mktemp("linked"), requirements)


@pytest.fixture(scope="module")
def installed(requirements, tmp_path_factory) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.mktemp("installed")) as folder:
        python = make_environment(Path(folder))
        install(python, *requirements)
        yield python


@pytest.fixture(scope="module")
def optional(unpacked) -> list[str]:
    """The packages that the metadata calls optional."""
    stated = [json.loads((unpacked / name / "configs" / "metadata.json").read_text()) for name in NAMES]
    return sorted({f"{n}=={v}" for metadata in stated for n, v in metadata["extra_packages_version"].items()})


@pytest.fixture(scope="module")
def linked_with_optional(requirements, optional, tmp_path_factory) -> Path:
    return link(tmp_path_factory.mktemp("linked"), [*requirements, *optional])


@pytest.fixture(scope="module")
def installed_with_optional(installed, optional) -> Path:
    install(installed, *optional)
    return installed


@pytest.fixture(
    scope="module",
    params=["linked_with_optional", pytest.param("installed_with_optional", marks=BY_PIP)],
)
def with_optional(request) -> Path:
    """Python of such an environment that has the optional packages as well."""
    return request.getfixturevalue(request.param)


def make_environment(folder: Path) -> Path:
    """Python of a new virtual environment."""
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


def link(folder: Path, requirements: list[str]) -> Path:
    """Python of an environment that pip need not fill: what it would install is here."""
    python = make_environment(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for found in needed(requirements):
        tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            if not (packages / top).exists():
                (packages / top).symlink_to(found.locate_file(top))
    return python


def needed(requirements: list[str]) -> list[Distribution]:
    """What this environment has of what is required, and of what that requires in turn."""
    pending = [(Requirement(line), {""}) for line in requirements]
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    while pending:
        wanted, extras = pending.pop()
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        here = distribution(wanted.name)
        assert wanted.specifier.contains(here.version, prereleases=True), (
            f"{wanted} is wanted, {here.version} here"
        )
        key = wanted.name, frozenset(wanted.extras)
        if key not in found:
            found[key] = here
            pending += [(Requirement(line), {"", *wanted.extras}) for line in here.requires or ()]
    return list(found.values())


def install(python: Path, *wanted: str) -> None:
    """Install into another environment with this one's pip; nothing is compiled that no test imports."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    ended = subprocess.run([*command, *wanted], capture_output=True, encoding="utf-8")
    if ended.returncode:
        said = ended.stderr[-2000:]
        pytest.fail(f"pip cannot install {wanted}; offline, leave --thorough out\n{said}", pytrace=False)


def run(python: Path, package: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, "-W", "ignore", *arguments]
    ended = subprocess.run(command, cwd=package, env=environment, capture_output=True, encoding="utf-8")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def calls(bundle: str, roots: dict[str, Path], out: Path) -> list[tuple[str, dict]]:
    """Functions of ``monai.bundle``: two updates, inference, and upstream's checks that need nothing else."""
    training = {"config_file": "configs/train.json", "output_dir": str(out / "trained"), "max_epochs": 1}
    training["device"] = "$torch.device('cpu')"
    inference = {"config_file": "configs/inference.json", "output_dir": str(out / "segmented")}
    check = ("verify_net_in_out", {"net_id": "network_def", "device": "cpu", **CONFIGS})
    script = {"filepath": str(out / "model.ts"), "bundle_root": ".", **EXPORTED[bundle], **CONFIGS}
    if bundle == "factory":
        training |= {"dataset_dir": str(roots["t1"])}
        drawing = inference | {"domain": "t2", "volumes": 1}
        return [("run", training), ("run", drawing), check, ("ckpt_export", script)]
    training["export_path"] = str(out / "trained" / "model.pt")
    if bundle == "adaptation":
        training |= {"source_dir": str(roots["t1"]), "twin_dir": str(roots["t2"]), "phases": [0, 2, 0]}
        training |= {"source_model_path": "models/model.pt", "dataset_dir": str(roots["t2"])}
    else:
        training |= {"dataset_dir": [str(root) for root in roots.values()], "warm_up_epochs": 0}
    return [("run", training), ("run", inference | {"dataset_dir": HEAD}), check, ("ckpt_export", script)]


@pytest.mark.parametrize(
    "bundle", ["adaptation", "factory", pytest.param("segmentation", marks=pytest.mark.thorough)]
)
def test_it_trains_segments_and_passes_upstreams_checks(interpreter, unpacked, roots, bundle, tmp_path):
    said = run(interpreter, unpacked / bundle, "-c", RUNNER, json.dumps(calls(bundle, roots, tmp_path)))
    *_, code, foreign = said.split("\n")[:-1]
    assert Path(code).is_relative_to(unpacked / bundle)
    assert foreign == ""  # nothing of the environment that runs the tests can be seen
    checkpoint = torch.load(tmp_path / "trained" / "checkpoint.pt", weights_only=True)
    assert checkpoint["trainer"]["iteration"] == 2
    if bundle == "factory":
        volume = nib.load(tmp_path / "segmented" / "t2_0000_synthetic.nii.gz")
        assert volume.shape[:2] == (32, 32) and np.asarray(volume.dataobj).std() > 0
        assert torch.jit.load(tmp_path / "model.ts")(torch.zeros(1, 16), 1, 4).shape == (1, 1, 32, 32, 4)
        return
    found = nib.load(tmp_path / "segmented" / "head_2mm_seg.nii.gz")
    head = nib.load(unpacked / bundle / HEAD)
    assert found.shape == head.shape and np.array_equal(found.affine, head.affine)
    assert set(np.unique(np.asarray(found.dataobj))) <= {0, 1}
    before = torch.load(unpacked / bundle / "models" / "model.pt", weights_only=True)
    after = torch.load(tmp_path / "trained" / "model.pt", weights_only=True)["model"]
    assert before.keys() == after.keys() and any(not torch.equal(before[n], after[n]) for n in before)
    assert torch.jit.load(tmp_path / "model.ts").state_dict().keys() == before.keys()


def test_the_command_of_its_readme_segments(interpreter, unpacked, tmp_path):
    bundle = SEGMENTING[0]
    readme = (unpacked / bundle / "docs" / "README.md").read_text("utf-8")
    command = next(line for line in readme.splitlines() if "run --config_file configs/inference.json" in line)
    words = command.replace("FOLDER", HEAD).replace("OUT", str(tmp_path)).split()
    run(interpreter, unpacked / bundle, *words[1:])
    assert (tmp_path / "head_2mm_seg.nii.gz").is_file()


@pytest.mark.parametrize(
    "bundle", ["factory", *(pytest.param(name, marks=pytest.mark.thorough) for name in SEGMENTING)]
)
def test_with_the_optional_packages_upstreams_other_checks_pass(with_optional, unpacked, bundle, tmp_path):
    schema = shutil.copy(SCHEMA, tmp_path / "schema.json")  # found there, it is not downloaded
    checks = [("verify_metadata", {"meta_file": CONFIGS["meta_file"], "filepath": str(schema)})]
    onnx = {"filepath": str(tmp_path / "model.onnx"), "ckpt_file": "models/model.pt", **EXPORTED[bundle]}
    checks += [("onnx_export", onnx | {"input_shape": INPUTS[bundle], **CONFIGS})]
    run(with_optional, unpacked / bundle, "-c", RUNNER, json.dumps(checks))
    assert (tmp_path / "model.onnx").is_file()
