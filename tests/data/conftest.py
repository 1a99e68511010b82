"""Small data roots and a DICOM writer for the tests of the data room."""

from __future__ import annotations

import json
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest

SHAPE = (12, 10, 6)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def voxels(seed: int, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def box(shape=SHAPE) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[3:8, 2:7, 1:4] = 1
    return label


@pytest.fixture
def save_image():
    """Save an array as NIfTI: ``save_image(path, array, affine)``."""
    return save


@pytest.fixture
def data_root(tmp_path):
    """A sound data root of four subjects, two of them labelled: its folder and the content of dataset.json."""
    root = tmp_path / "north"
    for number in range(1, 5):
        save(root / f"images/s{number}.nii.gz", voxels(number))
    for number in (1, 4):
        save(root / f"labels/s{number}.nii.gz", box())
    content = {
        "name": "north",
        "domain": "t2",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "brain"},
        "training": [
            {"image": "images/s1.nii.gz", "label": "labels/s1.nii.gz"},
            {"image": "images/s2.nii.gz"},
        ],
        "validation": [{"image": "images/s3.nii.gz"}],
        "test": [{"image": "images/s4.nii.gz", "label": "labels/s4.nii.gz"}],
    }
    write_json(root, content)
    return root, content


def write_json(root: Path, content: dict) -> None:
    (root / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def describe():
    """Write dataset.json: ``describe(root, content)``."""
    return write_json


def to_itk(array: np.ndarray, affine: np.ndarray):
    """An ITK image that occupies the same place in space as a NIfTI of that array and RAS affine."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing([float(mm) for mm in spacing])
    image.SetOrigin([float(mm) for mm in lps[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    return image


def write_series(folder: Path, array: np.ndarray, affine: np.ndarray, series: str = "1.2.3.4") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(array.shape[2]):
        place = affine.copy()
        place[:3, 3] += number * affine[:3, 2]
        image = to_itk(array[:, :, number : number + 1].astype(np.int16), place)
        image["0008|0060"], image["0008|0016"] = "MR", "1.2.840.10008.5.1.4.1.1.4"  # MR image storage
        image["0020|000d"], image["0020|000e"], image["0020|0013"] = "1.2.3", series, str(number + 1)
        codec = itk.GDCMImageIO.New()
        codec.SetKeepOriginalUID(True)
        itk.imwrite(image, str(folder / f"{series}_{number:03d}.dcm"), imageio=codec)
    return folder


@pytest.fixture
def save_itk():
    """Save an array as NRRD or MetaImage through ITK: ``save_itk(path, array, affine)``."""

    def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        itk.imwrite(to_itk(array, affine), str(path))
        return path

    return write


@pytest.fixture
def save_dicom():
    """Save an array as a DICOM series: ``save_dicom(folder, array, affine)``."""
    return write_series
