"""The segmentation bundle's own network through its inference and evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.networks import convert_to_torchscript

from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError, input_error_in
from shared_components.networks.weights import export_model
from tests.bundles.tiny import LABELS, make_root, workflow


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A client data root, ``B``, of volumes of 32 × 28 × 6 voxels of 4 × 4 × 6 mm."""
    return make_root(tmp_path_factory.mktemp("client") / "north", "B")


@pytest.fixture(scope="module")
def model(root, tmp_path_factory) -> Path:
    """A model file with the weights that the configured network starts with."""
    flow = segmentation("inference.yaml", dataset_dir=root, output_dir=tmp_path_factory.mktemp("unused"))
    path = tmp_path_factory.mktemp("model") / "model.pt"
    export_model(flow.parser.get_parsed_content("network_def"), path, {"labels": LABELS})
    return path


def segmentation(*names: str, **overrides) -> ConfigWorkflow:
    return workflow("segmentation", *names, kind="inference", labels=LABELS, **overrides)


def test_the_anatomy_encoder_alone_labels_slices_without_their_positions(root, model, tmp_path):
    flow = segmentation("inference.yaml", dataset_dir=root, output_dir=tmp_path, ckpt_path=model)
    assert not flow.check_properties()
    flow.run()
    image = volume_transforms(("image",), 32, 4.0, "native")({"image": str(root / "images/test0.nii.gz")})[
        "image"
    ]
    network = flow.parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        labels = network(image.as_tensor().permute(3, 0, 1, 2)).argmax(dim=1).permute(1, 2, 0)  # (32, 32, 6)
    found = nib.load(tmp_path / "test0_seg.nii.gz")
    assert np.array_equal(found.affine, nib.load(root / "images/test0.nii.gz").affine)
    assert 0 < labels.float().mean() < 1  # both classes occur
    # without the columns of padding; the file's rows run to the left
    labels = labels[:, 2:30].numpy()[::-1, ::-1]
    assert np.array_equal(np.asarray(found.dataobj), labels)


def test_evaluation_has_the_properties_and_leaves_table_summary_and_pictures(root, model, tmp_path):
    flow = segmentation(
        "inference.yaml", "evaluate.yaml", dataset_dir=root, output_dir=tmp_path, ckpt_path=model
    )
    assert not flow.check_properties()
    flow.run()
    assert {path.name for path in tmp_path.iterdir()} == {
        "cases.json", "test0_seg.nii.gz", "scores.csv", "scores.json", "scores_1_brain.png"
    }  # fmt: skip


@pytest.mark.parametrize("configs", [("inference.yaml",), ("inference.yaml", "evaluate.yaml")])
def test_a_label_beside_its_image_is_neither_replaced_nor_scored_against_itself(
    root, model, tmp_path, configs
):
    for folder, name in (("images", "p1.nii.gz"), ("labels", "p1_seg.nii.gz")):
        (tmp_path / name).write_bytes((root / folder / "test0.nii.gz").read_bytes())
    if len(configs) > 1:
        entry = {"image": "p1.nii.gz", "label": "p1_seg.nii.gz"}
        content = json.loads((root / "dataset.json").read_text()) | {"training": [], "validation": []}
        (tmp_path / "dataset.json").write_text(json.dumps(content | {"test": [entry]}))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    flow = segmentation(*configs, dataset_dir=tmp_path, output_dir=tmp_path, ckpt_path=model)
    with pytest.raises(RuntimeError) as raised:
        flow.run()
    told = str(input_error_in(raised.value))
    assert told.startswith(f"{tmp_path}/p1_seg.nii.gz: ") and "give another --output_dir" in told
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_network_becomes_torchscript_with_the_same_scores(root, model, tmp_path):
    flow = segmentation("inference.yaml", dataset_dir=root, output_dir=tmp_path, ckpt_path=model)
    network = flow.parser.get_parsed_content("network_def").eval()
    image = torch.randn(2, 1, 32, 40, generator=torch.Generator().manual_seed(0))
    scores = network(image)
    assert scores.shape == (2, len(LABELS), 32, 40)
    assert torch.allclose(convert_to_torchscript(network)(image), scores, atol=1e-6)


def test_a_model_of_another_size_is_told_apart(root, model, tmp_path):
    flow = segmentation(
        "inference.yaml", dataset_dir=root, output_dir=tmp_path, ckpt_path=model, anatomy_channels=2
    )
    with pytest.raises(RuntimeError) as raised:  # MONAI's wrapping of what an expression raises
        flow.run()
    assert isinstance(raised.value.__cause__, InputError)
    assert "weights do not fit the configured network" in str(raised.value.__cause__)
