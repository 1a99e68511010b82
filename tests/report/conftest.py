from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.inferers import write_case_list, write_segmentation
from shared_components.metrics import score_segmentations

LABELS = {0: "background", 1: "brain & <cord>"}
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def ball(radius: float) -> np.ndarray:
    return (radius > np.linalg.norm(np.indices((20, 22, 16)).T - (7.5, 10.5, 9.5)[::-1], axis=-1).T).astype(
        np.uint8
    )


@pytest.fixture
def inference_run(tmp_path):
    """A function that fills a folder as an inference run does: balls of 6 voxels, found ``shrunk`` too small."""

    def fill(folder: Path, shrunk: float = 1.0, scored: bool = True) -> Path:
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        cases = []
        for index in range(3):
            image, label = data / f"s{index}.nii.gz", data / f"s{index}_label.nii.gz"
            noise = np.random.default_rng(index).normal(size=(20, 22, 16))
            nib.save(nib.Nifti1Image((ball(6) * 4 + noise).astype(np.float32), AFFINE), image)
            nib.save(nib.Nifti1Image(ball(6), AFFINE), label)
            case = {"image": str(image), "case": f"s{index}"} | ({"label": str(label)} if scored else {})
            cases.append(case)
            write_segmentation(folder / f"s{index}_seg.nii.gz", ball(6 - shrunk - 0.5 * index), image, AFFINE)
        write_case_list(cases, LABELS, folder)
        if scored:
            score_segmentations(folder, cases, LABELS, folder / "scores.csv")
        return folder

    return fill


@pytest.fixture
def study(tmp_path, inference_run) -> Path:
    """The folder of a whole study with two clients."""
    root = tmp_path / "three-heads"
    scores = []
    for client in ("south", "island"):
        for method, shrunk in (("source model", 3.0), ("adaptation", 0.3)):
            folder = inference_run(root / "clients" / client / method, shrunk)
            scores.append(
                {"client": client, "method": method, "csv": str(folder.relative_to(root) / "scores.csv")}
            )
    slices = np.random.default_rng(0).uniform(-1, 1, (6, 12, 12)).astype(np.float32)
    np.savez(root / "real.npz", images=slices)
    np.savez(root / "translations.npz", source=slices, translated=-slices)
    (root / "factory").mkdir()
    rounds = [f"{r},{c},10,1.0,100,100,{1 / r},{r}" for r in (1, 2, 3) for c in ("south", "island")]
    header = "round,client,images,seconds,bytes_up,bytes_down,generator,discriminator"
    (root / "factory" / "rounds.csv").write_text("\n".join([header, *rounds]) + "\n")
    subjects = {"training": {"total": 8, "labelled": 0}, "test": {"total": 3, "labelled": 3}}
    content = {
        "name": "three <heads>",
        "date": "2026-01-01",
        "machine": {"cores": 2},
        "seed": 0,
        "domains": ["t1", "t2"],
        "labels": {str(value): name for value, name in LABELS.items()},
        "clients": {
            client: {"domain": "t2", "role": "unlabelled", "subjects": subjects}
            for client in ("south", "island")
        },
        "stages": [{"client": "south", "stage": "adaptation", "seconds": 125.0, "status": "done"}],
        "scores": scores,
        "pictures": {"south": {"real": ["real.npz"], "generated": [], "translations": ["translations.npz"]}},
        "notes": ["a remark"],
    }
    (root / "study.json").write_text(json.dumps(content))
    return root
