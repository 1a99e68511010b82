from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from shared_components.inferers import write_case_list, write_segmentation
from shared_components.metrics import score_segmentations
from tests.study_records import write_study

LABELS = {0: "background", 1: "brain & <cord>"}
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def ball(radius: float) -> np.ndarray:
    return (radius > np.linalg.norm(np.indices((20, 22, 16)).T - (7.5, 10.5, 9.5)[::-1], axis=-1).T).astype(
        np.uint8
    )


def fill(data: Path, folder: Path, shrunk: float = 1.0, scored: bool = True) -> Path:
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


@pytest.fixture
def inference_run(tmp_path):
    """A function that fills a folder as an inference run does: balls of 6 voxels, found ``shrunk`` too small."""
    return partial(fill, tmp_path / "data")


@pytest.fixture
def study(whole_study, tmp_path) -> Path:
    """The folder of a whole study with two clients."""
    return shutil.copytree(whole_study, tmp_path / whole_study.name)


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory) -> Path:
    """What each test gets a copy of."""
    kept = tmp_path_factory.mktemp("study")
    root = kept / "three-heads"
    scores = []
    for client in ("south", "island"):
        for method, shrunk in (("source model", 3.0), ("adaptation", 0.3)):
            folder = fill(kept / "data", root / "clients" / client / method, shrunk)
            place = folder.relative_to(root)
            entry = {"client": client, "method": method, "predictions": str(place)}
            scores.append({**entry, "csv": str(place / "scores.csv")})
    for name in ("real", "generated", "translations"):
        noise = np.random.default_rng(0).integers(0, 255, (24, 48), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"{name}.png")
    (root / "factory").mkdir()
    rounds = [f"{r},{c},10,1.0,100,100,{1 / r},{r}" for r in (1, 2, 3) for c in ("south", "island")]
    header = "round,client,images,seconds,bytes_up,bytes_down,generator,discriminator"
    (root / "factory" / "rounds.csv").write_text("\n".join([header, *rounds]) + "\n")
    subjects = {"training": {"total": 8, "labelled": 0}, "test": {"total": 3, "labelled": 3}}
    (kept / "data" / "dataset.json").touch()
    client = {"domain": "t2", "role": "unlabelled", "subjects": subjects, "data_root": str(kept / "data")}
    write_study(
        root,
        name="three <heads>",
        labels={str(value): name for value, name in LABELS.items()},
        clients=dict.fromkeys(("south", "island"), client),
        stages=[{"client": "south", "stage": "adaptation", "seconds": 125.0, "status": "done"}],
        scores=scores,
        pictures={"south": {f"{name}": f"{name}.png" for name in ("real", "generated", "translations")}},
    )
    return root
