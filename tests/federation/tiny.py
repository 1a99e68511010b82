"""Clients, data and federation files small enough for tests."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml

from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import federation_from

TINY_BUNDLE = Path(__file__).parent / "tiny_bundle"


def make_root(root: Path, domain: str, images: int, seed: int) -> Path:
    """A client data root of ``images`` volumes of 8 voxels a side: a bright cube, and its label."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    items = []
    for number in range(images):
        label = np.zeros((8, 8, 8), np.uint8)
        corner = rng.integers(1, 4, 3)
        label[corner[0] : corner[0] + 4, corner[1] : corner[1] + 4, corner[2] : corner[2] + 4] = 1
        image = (rng.normal(0, 0.3, label.shape) + label).astype(np.float32)
        item = {}
        for key, voxels in (("image", image), ("label", label)):
            item[key] = f"{key}s/s{number}.nii.gz"
            nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), root / item[key])
        items.append(item)
    description = {
        "name": root.name,
        "domain": domain,
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "brain"},
        "training": items,
        "validation": [],
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def make_roots(folder: Path) -> dict[str, Path]:
    """Data roots of three clients with 2, 3 and 4 images."""
    sizes = {"island": ("pet", 2), "north": ("t1", 3), "south": ("t2", 4)}
    return {
        name: make_root(folder / name, domain, images, seed)
        for seed, (name, (domain, images)) in enumerate(sizes.items())
    }


def file_values(roots: dict[str, Path], output_dir: Path) -> dict:
    """The content of a federation file of three clients, in the calling process, comparable bit for bit."""
    return {
        "name": "tiny",
        "bundle": str(TINY_BUNDLE),
        "domains": ["t1", "t2", "pet"],
        "labels": {0: "background", 1: "brain"},
        "clients": {
            "north": {"data_root": str(roots["north"]), "domain": "t1"},
            "south": {"data_root": str(roots["south"]), "domain": "t2"},
            "island": {"data_root": str(roots["island"]), "domain": "pet"},
        },
        "rounds": 3,
        "updates_per_round": 3,
        "workers": 0,
        "output_dir": str(output_dir),
        "seed": 5,
        "exchange": {"what": "weights"},
    }


def federation(values: dict, **changes) -> Federation:
    """The federation of a file with ``values``, some of them changed; ``privacy`` is for differences."""
    travels = {"exchange": {}} if "privacy" in changes else {}
    return federation_from({**values, **travels, **changes}, source=Path("tiny.yaml"))


def write_file(path: Path, values: dict, **changes) -> Path:
    """A federation file."""
    path.write_text(yaml.safe_dump({**values, **changes}, sort_keys=False))
    return path
