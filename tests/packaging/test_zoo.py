"""The model zoo's own checks, on packages of all bundles."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import (
    ConfigParser,
    ckpt_export,
    create_workflow,
    load,
    onnx_export,
    verify_metadata,
    verify_net_in_out,
)

from shared_components.inferers import inference_transforms
from shared_components.networks.volume_generator import VolumeDrawer
from shared_components.packaging.versions import required_packages
from tests.packaging.small import LABELS, NAMES, SCHEMA, SEGMENTING

HEAD = "shared_components/data/phantoms/colin27/head_2mm.nii.gz"
SHARED = ["train", "inference"]
WORKFLOWS = {name: [*SHARED, "evaluate"] for name in SEGMENTING}
WORKFLOWS |= {"factory": SHARED, "adaptation": [*SHARED, "evaluate", "pretrain", "synthesize"]}
LARGEST = 25 * 2**20  # bytes, of one file in the zoo


def config(package, name: str) -> str:
    return str(package.folder / "configs" / f"{name}.json")


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_zoos_files_and_no_others(packages, name):
    folder = packages[name].folder
    expected = {"LICENSE", "requirements.txt", "docs/README.md", "docs/data_license.txt", "models/model.pt"}
    expected |= {f"configs/{workflow}.json" for workflow in ["metadata", *WORKFLOWS[name]]}
    expected |= {"models/model.ts"}
    files = [file for file in folder.rglob("*") if file.is_file()]
    names = {file.relative_to(folder).as_posix() for file in files}
    assert {file for file in names if not file.startswith("shared_components/")} == expected
    assert f"{folder.name}/{HEAD}".endswith("head_2mm.nii.gz") and HEAD in names
    assert max(file.stat().st_size for file in files) < LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_valid_and_its_version_has_an_entry_in_the_changelog(packages, name, tmp_path):
    schema = shutil.copy(SCHEMA, tmp_path / "schema.json")  # found there, it is not downloaded
    verify_metadata(meta_file=config(packages[name], "metadata"), filepath=schema)
    metadata = json.loads(Path(config(packages[name], "metadata")).read_text())
    assert metadata["version"] in metadata["changelog"]
    assert packages[name].zip.name == f"{name}_v{metadata['version']}.zip"
    assert {"intended_use", "known_limits", "references", "data_source"} <= metadata.keys()


@pytest.mark.parametrize("name", NAMES)
def test_ids_have_the_names_that_the_zoo_asks_for(packages, name):
    """Those of its guide for contributors, "Preferred files and keys"."""
    inference = ids_of(packages[name], "inference")
    assert {"bundle_root", "device", "network_def", "inferer", "output_dir"} <= inference
    train = ids_of(packages[name], "train")
    wanted = {"bundle_root", "device", "dataset_dir", "output_dir", "train::dataset", "train::dataset::data"}
    wanted |= {"train::trainer", "train::trainer::max_epochs", "train::inferer", "train::handlers"}
    if "validate" in train:
        wanted |= {"validate::evaluator", "validate::handlers", "validate::inferer", "validate::key_metric"}
        wanted |= {"validate::dataset", "validate::dataset::data", "val_interval"}
    assert wanted - train == set()


def ids_of(package, workflow: str) -> set[str]:
    """All ids of a workflow's config, those within others too."""

    def within(value, prefix: str) -> set[str]:
        if not isinstance(value, dict):
            return set()
        return {f"{prefix}{id}" for id in value}.union(
            *(within(v, f"{prefix}{id}::") for id, v in value.items())
        )

    return within(json.loads(Path(config(package, workflow)).read_text()), "")


@pytest.mark.parametrize("left_out", ["version", "numpy_version", "network_data_format"])
def test_the_schema_notices_what_is_missing(packages, left_out, tmp_path):
    metadata = json.loads(Path(config(packages["factory"], "metadata")).read_text())
    del metadata[left_out]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    schema = shutil.copy(SCHEMA, tmp_path / "schema.json")
    with pytest.raises(ValueError, match=left_out):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=schema)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_takes_and_gives_what_the_metadata_says(packages, name, tmp_path):
    verify(packages[name], config(packages[name], "metadata"))
    metadata = json.loads(Path(config(packages[name], "metadata")).read_text())
    channels = metadata["network_data_format"]["outputs"]["pred"]["num_channels"]
    metadata["network_data_format"]["outputs"]["pred"]["num_channels"] = channels + 1
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=f"channel number `{channels}` doesn't match: `{channels + 1}`"):
        verify(packages[name], str(tmp_path / "metadata.json"))


def verify(package, metadata: str) -> None:
    """MONAI's check of the network against a file of metadata."""
    verify_net_in_out(
        "network_def", meta_file=metadata, config_file=config(package, "inference"), device="cpu",
        bundle_root=str(package.folder),
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", [(n, w) for n in NAMES for w in WORKFLOWS[n] if w != "synthesize"], ids="-".join
)
def test_workflows_have_the_properties_that_other_programs_read(packages, models, roots, name, tmp_path):
    bundle, workflow = name
    places = {"bundle_root": packages[bundle].folder, "output_dir": tmp_path, "dataset_dir": roots["t1"]}
    if name == ("adaptation", "train"):
        places |= {"source_model_path": models[bundle], "source_dir": roots["t1"], "twin_dir": roots["t2"]}
        places["dataset_dir"] = roots["t2"]
    flow = create_workflow(
        config_file=config(packages[bundle], workflow),
        workflow_type="train" if workflow in ("train", "pretrain") else "inference",
        **{id: str(place) for id, place in places.items()},
    )
    assert flow.check_properties() == []
    assert flow.version == json.loads(Path(config(packages[bundle], "metadata")).read_text())["version"]


@pytest.mark.parametrize("name", SEGMENTING)
def test_load_gives_the_network_with_its_weights_as_the_docs_say(packages, models, name, monkeypatch):
    monkeypatch.chdir(packages[name].folder)
    assert 'bundle_dir="..")` gives the network with its weights' in Path("docs/README.md").read_text("utf-8")
    network = load(name, bundle_dir="..", device="cpu")
    trained = torch.load(models[name], weights_only=True)["model"]
    found = network.state_dict()
    assert found.keys() == trained.keys() and all(torch.equal(found[n], trained[n]) for n in trained)


@pytest.fixture(scope="module")
def head(packages) -> torch.Tensor:
    """Slices of the real head, (3, 1, H, W), as inference of the demo weights prepares them."""
    transforms = inference_transforms(48, 4.5, "RAS", multiple=8)
    volume = transforms({"image": str(packages["factory"].folder / HEAD)})["image"].as_tensor()
    depth = volume.shape[-1]
    return volume[..., [depth // 4, depth // 2, 3 * depth // 4]].movedim(-1, 0).contiguous()


def scripted_of(folder):
    """A package's TorchScript with its metadata and its inference config, as MONAI loads them."""
    files = ["inference.json"]
    return load(folder.name, bundle_dir=folder.parent, load_ts_module=True, config_files=files, device="cpu")


@pytest.mark.parametrize("name", SEGMENTING)
def test_torchscript_and_its_export_give_the_networks_scores_on_a_real_head(trained, name, head, tmp_path):
    folder = trained[name].folder
    network = load(folder.name, bundle_dir=folder.parent, device="cpu").eval()
    scripted, metadata, extra = scripted_of(folder)
    ckpt_export(
        "network_def", filepath=str(tmp_path / "model.ts"), bundle_root=str(folder),
        config_file=config(trained[name], "inference"),
    )  # fmt: skip
    with torch.no_grad():
        expected = network(head)
        for module in (scripted, torch.jit.load(tmp_path / "model.ts")):
            assert torch.allclose(module.eval()(head), expected, atol=1e-4)
    assert expected.std() > 0.01 and expected.shape == (3, len(LABELS), *head.shape[2:])
    assert metadata["version"] and "network_def" in json.loads(extra["inference.json"])


@pytest.mark.parametrize("name", SEGMENTING)
def test_onnx_gives_the_networks_scores_on_a_real_head(trained, name, head, tmp_path):
    folder = trained[name].folder
    network = load(folder.name, bundle_dir=folder.parent, device="cpu").eval()
    onnx_export(
        "network_def", filepath=str(tmp_path / "model.onnx"), ckpt_file=str(folder / "models/model.pt"),
        meta_file=config(trained[name], "metadata"), config_file=config(trained[name], "inference"),
        input_shape=[1, *head.shape[1:]],
    )  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0].name
    for slices in head.split(1):
        with torch.no_grad():
            expected = network(slices).numpy()
        assert np.allclose(session.run(None, {image: slices.numpy()})[0], expected, atol=1e-4)


@pytest.fixture(scope="module")
def drawer(trained) -> VolumeDrawer:
    """What the factory's package exports, as PyTorch runs it."""
    parser = ConfigParser()
    parser.read_config(config(trained["factory"], "inference"))
    parser["bundle_root"] = str(trained["factory"].folder)
    return parser.get_parsed_content("drawer_def").eval()


def test_the_factorys_torchscript_and_its_export_draw_what_the_network_draws(trained, drawer, tmp_path):
    folder = trained["factory"].folder
    scripted, metadata, extra = scripted_of(folder)
    ckpt_export(
        "drawer_def", filepath=str(tmp_path / "model.ts"), bundle_root=str(folder), key_in_ckpt="model",
        config_file=config(trained["factory"], "inference"),
    )  # fmt: skip
    latents = torch.randn(2, 128)
    with torch.no_grad():
        for module in (scripted, torch.jit.load(tmp_path / "model.ts")):
            assert torch.allclose(module.eval()(latents), drawer(latents), atol=1e-4)
            for domain, slices in ((2, 5), (1, 40)):
                found = module(latents[:1], domain, slices)
                assert torch.allclose(found, drawer(latents[:1], domain, slices), atol=1e-4)
    assert found.shape == (1, 1, 48, 48, 40) and float(found.std()) > 0.1
    assert metadata["version"] and "drawer_def" in json.loads(extra["inference.json"])


def test_the_factorys_onnx_draws_what_the_network_draws(trained, drawer, tmp_path):
    folder = trained["factory"].folder
    onnx_export(
        "drawer_def", filepath=str(tmp_path / "model.onnx"), ckpt_file=str(folder / "models/model.pt"),
        key_in_ckpt="model", config_file=config(trained["factory"], "inference"), input_shape=[1, 128],
        bundle_root=str(folder), domain="t2", slices=3,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for latent in torch.randn(2, 1, 128):
        found = session.run(None, {session.get_inputs()[0].name: latent.numpy()})[0]
        with torch.no_grad():
            assert np.allclose(found, drawer(latent, 1, 3).numpy(), atol=1e-4)


def test_the_code_needs_nothing_but_itself_and_the_packages_of_the_metadata(packages):
    folder, providers = packages["factory"].folder, packages_distributions()  # the code is the same in all
    modules = imported_modules(folder / "shared_components")
    own = {module for module in modules if module.startswith("shared_components")}
    places = {module: folder / module.replace(".", "/") for module in own}
    assert [
        m for m, place in places.items() if not (place.is_dir() or place.with_suffix(".py").is_file())
    ] == []
    others = {module.split(".")[0] for module in modules - own} - sys.stdlib_module_names
    others.add("fire")  # the command line of monai.bundle
    others -= {"open_clip", "safetensors"}  # of an encoder that no config names; it says what to install
    for name in NAMES:
        metadata = json.loads(Path(config(packages[name], "metadata")).read_text())
        listed = {required.lower() for required in required_packages(metadata)}
        unlisted = [o for o in others if not {p.lower() for p in [o, *providers.get(o, ())]} & listed]
        assert (name, unlisted) == (name, [])


def imported_modules(folder: Path) -> set[str]:
    """Every module that the code in ``folder`` imports, inside functions too."""
    nodes = [node for file in folder.rglob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
