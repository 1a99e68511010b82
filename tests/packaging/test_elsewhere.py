"""Packages unpacked where nothing of the repository can be seen: they train and segment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.packaging.small import NAMES, SEGMENTING

HEAD = "shared_components/data/phantoms/colin27/head_2mm.nii.gz"
REPO = Path(__file__).parents[2]
WITHOUT_REPOSITORY = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]  # an editable install of it
sys.path[:] = [entry for entry in sys.path if entry != {str(REPO)!r}]
"""
RUNNER = """
import json, sys
from monai.bundle import run
for arguments in json.loads(sys.argv[1]):
    run(**arguments)
import shared_components
print(shared_components.__file__)
"""


@pytest.fixture(scope="module")
def elsewhere(packages, tmp_path_factory) -> Path:
    """A folder with the three packages, unpacked, and Python's ``sitecustomize`` that hides the repository."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in NAMES:
        with zipfile.ZipFile(packages[name].zip) as archive:
            archive.extractall(folder)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT_REPOSITORY)
    return folder


def python(elsewhere: Path, package: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(elsewhere / "site"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(
        command, cwd=elsewhere / package, env=environment, capture_output=True, encoding="utf-8"
    )


def runs(bundle: str, roots: dict[str, Path], out: Path) -> list[dict]:
    """What ``monai.bundle.run`` is asked for: two updates, then inference."""
    training = {"config_file": "configs/train.json", "output_dir": str(out / "trained"), "max_epochs": 1}
    training["device"] = "$torch.device('cpu')"
    inference = {"config_file": "configs/inference.json", "output_dir": str(out / "segmented")}
    if bundle == "factory":
        return [training | {"dataset_dir": str(roots["t1"])}, inference | {"domain": "t2", "volumes": 1}]
    training["export_path"] = str(out / "trained" / "model.pt")
    if bundle == "adaptation":
        training |= {"source_dir": str(roots["t1"]), "twin_dir": str(roots["t2"]), "phases": [0, 2, 0]}
        training |= {"source_model_path": "models/model.pt", "dataset_dir": str(roots["t2"])}
    else:
        training |= {"dataset_dir": [str(root) for root in roots.values()], "warm_up_epochs": 0}
    return [training, inference | {"dataset_dir": HEAD}]


@pytest.mark.parametrize("bundle", NAMES)
def test_two_updates_and_inference(elsewhere, roots, bundle, tmp_path):
    ended = python(elsewhere, bundle, "-c", RUNNER, json.dumps(runs(bundle, roots, tmp_path)))
    assert ended.returncode == 0, ended.stderr
    assert Path(ended.stdout.splitlines()[-1]).is_relative_to(elsewhere / bundle)
    checkpoint = torch.load(tmp_path / "trained" / "checkpoint.pt", weights_only=True)
    assert checkpoint["trainer"]["iteration"] == 2
    if bundle == "factory":
        volume = nib.load(tmp_path / "segmented" / "t2_0000_synthetic.nii.gz")
        assert volume.shape[:2] == (32, 32) and np.asarray(volume.dataobj).std() > 0
        return
    found, head = (
        nib.load(tmp_path / "segmented" / "head_2mm_seg.nii.gz"),
        nib.load(elsewhere / bundle / HEAD),
    )
    assert found.shape == head.shape and np.array_equal(found.affine, head.affine)
    assert set(np.unique(np.asarray(found.dataobj))) <= {0, 1}
    before = torch.load(elsewhere / bundle / "models" / "model.pt", weights_only=True)
    after = torch.load(tmp_path / "trained" / "model.pt", weights_only=True)["model"]
    assert before.keys() == after.keys() and any(not torch.equal(before[n], after[n]) for n in before)


def test_the_command_of_its_readme_segments(elsewhere, tmp_path):
    bundle = SEGMENTING[0]
    readme = (elsewhere / bundle / "docs" / "README.md").read_text("utf-8")
    command = next(line for line in readme.splitlines() if "run --config_file configs/inference.json" in line)
    words = command.replace("FOLDER", HEAD).replace("OUT", str(tmp_path)).split()
    ended = python(elsewhere, bundle, *words[1:])
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "head_2mm_seg.nii.gz").is_file()
