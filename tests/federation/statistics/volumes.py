"""Volumes, and numbers of volumes, for the tests of the statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from shared_components.federation.statistics.published import VolumeNumbers


def save(path: Path, voxels: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1)) -> str:
    if voxels.dtype != np.uint8:
        voxels = voxels.astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*spacing, 1.0])), path)
    return str(path)


def item(
    folder: Path, image: np.ndarray, label: np.ndarray | None = None, spacing: tuple[float, ...] = (1, 1, 1)
) -> dict[str, Any]:
    """An entry as of ``ClientRoot.items``."""
    found = {"image": save(folder / "image.nii.gz", image, spacing), "subject": "image", "domain": "t1"}
    if label is not None:
        found["label"] = save(folder / "label.nii.gz", label, spacing)
    return found


def volume(patient: str, state: str = "unlabelled", split: str = "training", **numbers: Any) -> VolumeNumbers:
    """Numbers of a volume with two bins, of which all but what a test is about is the same."""
    labelled = {"millilitres": {1: 10.0, 2: 5.0}, "annotated": 4} if state == "labelled" else {}
    usual = {
        "spacing": (1.0, 1.0, 2.0),
        "slices": 4,
        "percentiles": (0.0, 1.0, 2.0),
        "shares": np.array([0.5, 0.5]),
    }
    return VolumeNumbers(split, patient, state, **{**usual, **labelled, **numbers})
