"""What MONAI Label 0.8.5 and MONAI Deploy 4.0.0 take from a package, step by step, gives what its own inference writes.

Neither program is installed for these tests; each helper does what the program's bundle task does.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow, load
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, MapTransform

from tests.packaging.small import LABELS, SEGMENTING

HEAD = "shared_components/data/phantoms/colin27/head_2mm.nii.gz"


@pytest.fixture(scope="module")
def segmented(packages, tmp_path_factory) -> dict[str, nib.Nifti1Image]:
    """Of each package, what its own inference makes of the real head."""
    folder, files = tmp_path_factory.mktemp("segmented"), {}
    for name in SEGMENTING:
        package = packages[name].folder
        places = {"bundle_root": package, "dataset_dir": package / HEAD, "output_dir": folder / name}
        create_workflow(
            config_file=str(package / "configs" / "inference.json"),
            workflow_type="inference",
            device="cpu",
            **{id: str(place) for id, place in places.items()},
        ).run()
        files[name] = nib.load(folder / name / "head_2mm_seg.nii.gz")
    return files


def test_load_gives_the_factorys_generator_with_its_weights(packages, models, monkeypatch):
    monkeypatch.chdir(packages["factory"].folder)
    network = load("factory", bundle_dir="..", workflow_type="inference", device="cpu")
    trained = torch.load(models["factory"], weights_only=True)["model"]
    found = network.generator.state_dict()
    assert found.keys() == trained.keys() and all(torch.equal(found[n], trained[n]) for n in trained)


def network_format(package: Path) -> tuple[tuple[str, dict], tuple[str, dict]]:
    """The only input and the only output of a package's network, by name."""
    tensors = json.loads((package / "configs" / "metadata.json").read_text())["network_data_format"]
    (taken,), (given,) = tensors["inputs"].items(), tensors["outputs"].items()
    return taken, given


def monai_label(package: Path, request: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Labels ``(X, Y, Z)`` and affine that MONAI Label's ``BundleInferTask`` would write for a request."""
    parser = ConfigParser()
    parser.read_config(package / "configs" / "inference.json")
    parser.config |= {"bundle_root": str(package), "use_click": False, "device": "cpu"}
    network = parser.get_parsed_content("network_def")
    weights = torch.load(package / "models" / "model.pt", weights_only=True)
    weights = weights.get("model", weights)
    assert weights.keys() == network.state_dict().keys()  # others it would load in part, with a warning
    network.load_state_dict(weights)
    data = request | {"image_path": request["image"]}
    loader, *steps = parser.get_parsed_content("preprocessing").transforms
    assert isinstance(loader, LoadImaged) and not any(isinstance(step, LoadImaged) for step in steps)
    loader._loader.image_only = False  # it wants the metadata beside the image
    for step in (loader, *steps):
        data = step(data)
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network.eval())[0]
    for step in parser.get_parsed_content("postprocessing").transforms:
        data = step(data)
    meta = data["image"].meta
    assert data["pred"].shape == (1, *meta["spatial_shape"])  # others it resizes
    return data["pred"][0].numpy(), np.asarray(meta["original_affine"])


@pytest.mark.parametrize("name", SEGMENTING)
def test_monai_label_writes_the_same_labels_and_leaves_no_other_file(
    packages, segmented, name, tmp_path, monkeypatch
):
    package = packages[name].folder
    before = sorted(package.rglob("*"))
    monkeypatch.chdir(tmp_path)
    request = {"image": str(package / HEAD), "device": "cpu", "model_filename": "model.pt"}
    labels, affine = monai_label(package, request)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, segmented[name].dataobj) and set(np.unique(labels)) == set(LABELS)
    assert np.array_equal(affine, segmented[name].affine)
    assert sorted(package.rglob("*")) == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SEGMENTING)
def test_monai_label_finds_the_keys_of_the_image_and_of_the_prediction_and_the_labels_by_name(packages, name):
    (image, _), (pred, given) = network_format(packages[name].folder)
    assert (image, pred) == ("image", "pred")
    assert {int(index): label for index, label in given["channel_def"].items()} == LABELS
    assert [file.name for file in (packages[name].folder / "models").glob("*.pt")] == ["model.pt"]


def without_files(steps: Compose) -> Compose:
    """Transforms without those that read or write files, which Deploy knows by their class's name."""
    names = {step: type(step).__name__ for step in steps.transforms}
    kept = [
        step for step in steps.transforms if not ("LoadImage" in names[step] or "SaveImage" in names[step])
    ]
    assert isinstance(kept[0], MapTransform)  # otherwise it would give them a bare tensor
    return Compose(kept)


def deploy_config(package: Path, archive: bool, folder: Path) -> ConfigParser:
    """Metadata and inference config as Deploy finds them, in ``models/model.ts`` or in the package's folder."""
    configs = package / "configs"
    if archive:
        with zipfile.ZipFile(package / "models" / "model.ts") as file:
            file.extractall(folder, ["model/extra/metadata.json", "model/extra/inference.json"])
        configs = folder / "model" / "extra"
    parser = ConfigParser()
    parser.read_meta(json.loads((configs / "metadata.json").read_text()))
    parser.read_config([configs / "inference.json"])
    parser.parse()
    return parser


def image_in_memory(file: Path) -> MetaTensor:
    """A volume as Deploy's DICOM reader hands it over: integers ``(X, Y, Z)``, no channel, no file."""
    image = nib.load(file)
    voxels = np.asarray(image.dataobj).astype(np.int16)
    meta = {
        "row_pixel_spacing": 2.0, "col_pixel_spacing": 2.0, "depth_pixel_spacing": 2.0,
        "affine": image.affine, "original_affine": image.affine, "nifti_affine_transform": image.affine,
        "spatial_shape": np.asarray(voxels.shape), "original_channel_dim": "no_channel", "space": "RAS",
    }  # fmt: skip
    return MetaTensor.ensure_torch_and_prune_meta(voxels, meta)


def deploy(parser: ConfigParser, network: torch.nn.Module, image: MetaTensor) -> torch.Tensor:
    """What Deploy's ``MonaiBundleInferenceOperator`` sends on, ``(1, X, Y, Z)``."""
    inputs = without_files(parser.get_parsed_content("preprocessing"))({"image": image})
    assert [key for key, value in inputs.items() if isinstance(value, torch.Tensor)] == ["image"]
    with torch.no_grad():
        inferer = parser.get_parsed_content("inferer")
        outputs = inferer(
            inputs=inputs["image"][None].to(parser.get_parsed_content("device")), network=network
        )
    return without_files(parser.get_parsed_content("postprocessing"))({"pred": outputs[0]} | inputs)["pred"]


@pytest.mark.parametrize("name", SEGMENTING)
@pytest.mark.parametrize("archive", [True, False], ids=["model.ts", "folder"])
def test_monai_deploy_segments_an_image_in_memory(packages, segmented, name, archive, tmp_path, monkeypatch):
    package = packages[name].folder
    monkeypatch.chdir(tmp_path)
    parser = deploy_config(package, archive, tmp_path / "archive")
    parser["device"] = "$torch.device('cpu')"
    network = torch.jit.load(package / "models" / "model.ts", map_location="cpu").eval()
    labels = deploy(parser, network, image_in_memory(package / HEAD))
    assert labels.dtype == torch.uint8
    assert np.array_equal(labels[0].numpy(), segmented[name].dataobj)
    assert [file.name for file in tmp_path.iterdir()] == (["archive"] if archive else [])


@pytest.mark.parametrize("name", SEGMENTING)
def test_monai_deploy_hands_over_and_expects_images_also_where_probabilities_are_switched_on(packages, name):
    package = packages[name].folder
    assert [tensor["type"] for _, tensor in network_format(package)] == ["image", "image"]
    parser = deploy_config(package, archive=False, folder=package)
    parser["probabilities"] = True
    steps = without_files(parser.get_parsed_content("postprocessing")).transforms
    assert type(steps[0]).__name__ == "WriteProbabilitiesd"
