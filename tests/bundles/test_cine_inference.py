"""4-D cine and 2-D images through both bundles' inference and evaluation; the network is as in the test of volumes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from shared_components.data.frames import split_frames
from tests.bundles.tiny import BUNDLES
from tests.inferers.nifti_headers import assert_same_grid

AFFINE = np.array([[-1.6, 0.3, 0, 40], [0.3, 1.6, 0, -30], [0, 0, 8, 5], [0, 0, 0, 1.0]])  # turned in-plane
SHAPE, FRAMES = (50, 44, 3), 4


def anatomy(shape=SHAPE, frames: int = FRAMES) -> np.ndarray:
    """Labels of a heart that beats: a disc of 1 with a disc of 2 in it, ``(X, Y, Z, T)``."""
    rows, columns = np.indices(shape[:2])
    distance = np.hypot(rows - 23, columns - 20)[..., None, None]
    radius = 14 + 3 * np.cos(2 * np.pi * np.arange(frames) / frames)
    labels = (distance < radius).astype(np.uint8) + (distance < radius - 6)
    return np.broadcast_to(labels, (*shape[:2], shape[2], frames)).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, AFFINE)
    image.set_sform(AFFINE, code="mni")
    image.set_qform(AFFINE, code="scanner")
    image.header.set_xyzt_units("mm", "msec")
    if array.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], 33.5))
    nib.save(image, path)
    return path


def intensities(labels: np.ndarray) -> np.ndarray:
    """Of each frame on a scale of its own, which percentiles of the whole series would mix up."""
    return (100 * labels * 3.0 ** np.arange(labels.shape[-1])).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Scores 8 (c x - c² / 2) with c = -1, 0, 1: the class of the nearest of three intensities."""
    levels = torch.tensor([-1.0, 0.0, 1.0])
    path = tmp_path_factory.mktemp("models") / "model.pt"
    torch.save({"model": {"weight": 8 * levels.reshape(3, 1, 1, 1), "bias": -4 * levels**2}}, path)
    return path


def run(bundle: str, *configs: str, **overrides) -> None:
    values = {
        "device": "$torch.device('cpu')", "labels": {0: "background", 1: "wall", 2: "cavity"},
        "image_size": 48, "spacing": 2.0, "orientation": "native", "bundle_root": str(BUNDLES / bundle),
        "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3, "kernel_size": 1},
    }  # fmt: skip
    workflow = ConfigWorkflow(
        config_file=[str(BUNDLES / bundle / "configs" / name) for name in ("common.yaml", *configs)],
        workflow_type="inference", logging_file=False,
        **values | {name: str(value) if isinstance(value, Path) else value for name, value in overrides.items()},
    )  # fmt: skip
    workflow.initialize()
    workflow.run()


def dice(found: np.ndarray, true: np.ndarray, label: int) -> float:
    return 2 * ((found == label) & (true == label)).sum() / ((found == label).sum() + (true == label).sum())


@pytest.mark.parametrize("bundle", ["adaptation", "segmentation"])
def test_each_frame_is_segmented_as_if_it_were_a_file_of_its_own(bundle, checkpoint, tmp_path):
    labels = anatomy()
    series = save(tmp_path / "in" / "cine.nii.gz", intensities(labels))
    frames = split_frames(series, tmp_path / "frames")
    run(
        bundle, "inference.yaml", dataset_dir=tmp_path / "in", output_dir=tmp_path / "a", ckpt_path=checkpoint
    )
    run(
        bundle,
        "inference.yaml",
        dataset_dir=tmp_path / "frames",
        output_dir=tmp_path / "b",
        ckpt_path=checkpoint,
    )

    source, found = nib.load(series), nib.load(tmp_path / "a" / "cine_seg.nii.gz")
    assert found.shape == (*SHAPE, FRAMES)
    assert np.array_equal(found.affine, source.affine)
    assert_same_grid(found.header, source.header)
    values = np.asarray(found.dataobj)
    assert values.dtype == np.uint8
    for t, file in enumerate(frames):
        alone = np.asarray(
            nib.load(tmp_path / "b" / f"{file.name.removesuffix('.nii.gz')}_seg.nii.gz").dataobj
        )
        assert np.array_equal(values[..., t], alone)
        assert min(dice(values[..., t], labels[..., t], value) for value in (1, 2)) >= 0.93
    assert not np.array_equal(values[..., 0], values[..., 2])


@pytest.mark.parametrize("shape", [(50, 44), (50, 44, 1), (50, 44, 1, FRAMES)])
def test_images_of_one_slice_come_out_in_their_own_shape(shape, checkpoint, tmp_path):
    labels = anatomy((50, 44, 1), shape[3] if len(shape) == 4 else 1)
    image = save(tmp_path / "in" / "slice.nii.gz", intensities(labels).reshape(shape))
    run(
        "segmentation", "inference.yaml", dataset_dir=image, output_dir=tmp_path / "out", ckpt_path=checkpoint
    )
    found = np.asarray(nib.load(tmp_path / "out" / "slice_seg.nii.gz").dataobj)
    assert found.shape == shape
    assert min(dice(found, labels.reshape(shape), value) for value in (1, 2)) >= 0.93


def test_evaluation_scores_the_labelled_frames_and_draws_each_class(checkpoint, tmp_path):
    labels, root = anatomy(), tmp_path / "root"
    marked = labels.copy()
    marked[..., [1, 3]] = 0  # the experts drew two of four frames
    save(root / "images" / "cine.nii.gz", intensities(labels))
    save(root / "labels" / "cine.nii.gz", marked)
    content = {
        "name": "north", "domain": "A", "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "wall", "2": "cavity"}, "training": [], "validation": [],
        "test": [{"image": "images/cine.nii.gz", "label": "labels/cine.nii.gz"}],
    }  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    run(
        "segmentation", "inference.yaml", "evaluate.yaml", dataset_dir=root, output_dir=out,
        ckpt_path=checkpoint,
    )  # fmt: skip
    rows = [line.split(",") for line in (out / "scores.csv").read_text().splitlines()]
    assert rows[0][:6] == ["case", "label", "name", "dice", "hd95_mm", "hd_mm"]
    assert [row[0] for row in rows[1:]] == ["cine_t00", "cine_t00", "cine_t02", "cine_t02"]
    summary = json.loads((out / "scores.json").read_text())
    assert summary["cavity"]["dice_mean"] >= 0.93
    assert 0 <= summary["cavity"]["hd95_mean"] <= summary["cavity"]["hd_mean"] <= 4
    assert summary["mean"]["hd_sd"] is not None
    for name in ("scores_1_wall.png", "scores_2_cavity.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
