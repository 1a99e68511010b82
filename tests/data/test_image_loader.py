"""ITK, a package of 167 MB, is needed by those who have DICOM, NRRD or MetaImage, and by nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.image_loader import ITK
from tests.data.dicom_files import RIGHT, WRONG

REPO = Path(__file__).parents[2]

WITHOUT = """
import importlib, pkgutil, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("itk", "itkConfig"):
            raise ImportError("No module named 'itk'")

sys.meta_path.insert(0, Blocked())
import shared_components
for module in pkgutil.walk_packages(shared_components.__path__, "shared_components."):
    importlib.import_module(module.name)
from shared_components.data.pairing import find_pairs
from shared_components.data.volume_check import check_image
from tests.inferers.known_network import inference, save_network

folder = Path(sys.argv[1])
inference(folder / "head.nii.gz", folder / "out", save_network(folder / "model.pt")).run()
print((folder / "out" / "head_seg.nii.gz").is_file(), "itk" in sys.modules)
for name in ("head.nii.gz", "series", "missing", "head.mha"):
    print([str(fault) for fault in check_image(folder / name)[1]])
print(len(find_pairs(folder / "study")))
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> tuple[Path, list[str]]:
    """What a process without ITK says of a folder."""
    folder = tmp_path_factory.mktemp("files")
    voxels = np.random.default_rng(0).normal(100, 20, (20, 18, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / "head.nii.gz")
    RIGHT["regular"].write(folder / "series")
    RIGHT["regular"].write(folder / "study" / "images" / "s1")
    WRONG["missing"][0](folder / "missing")
    (folder / "head.mha").write_bytes(b"ObjectType = Image")
    command = [sys.executable, "-c", WITHOUT, str(folder)]
    ended = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout.splitlines()[-6:]


def test_nifti_is_segmented_and_checked_without(lines):
    assert lines[1][:2] == ["True False", "[]"]


def test_the_geometry_of_dicom_is_judged_without(lines):
    assert "6 slices lie 3 mm apart, but 9 mm between" in lines[1][3]
    assert lines[1][5] == "1"


@pytest.mark.parametrize(("name", "place"), [("series", 2), ("head.mha", 4)])
def test_what_needs_it_says_what_to_install(lines, name, place):
    cure = f"is read by ITK, which is not installed (No module named 'itk'); pip install {ITK}, or convert it to NIfTI"
    assert lines[1][place] == str([f"{lines[0] / name}: {cure}"])


def test_the_version_is_the_one_that_is_pinned():
    assert ITK in (REPO / "requirements.txt").read_text().splitlines()
