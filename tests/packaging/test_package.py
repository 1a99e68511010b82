from __future__ import annotations

import json
import subprocess

import pytest
import torch

from shared_components.errors import InputError
from shared_components.files import load_tensors
from shared_components.packaging import build_package
from shared_components.packaging.package import REPO
from tests.packaging.small import NAMES, settings


def build(models, out, bundle="segmentation", **more):
    arguments = {"config": settings(bundle), "trained_on": "noise", "development": True} | more
    return build_package(bundle, models[bundle], out, **arguments)


@pytest.mark.parametrize("bundle", NAMES)
def test_the_same_input_gives_the_same_bytes_anywhere(models, packages, tmp_path, bundle):
    again = build(models, tmp_path / "another" / "place", bundle)
    assert again.zip.read_bytes() == packages[bundle].zip.read_bytes()
    subprocess.run(
        ["sha256sum", "--check", "--status", again.checksum.name], cwd=again.zip.parent, check=True
    )
    assert sorted(path.name for path in again.zip.parent.iterdir()) == sorted(path.name for path in again)


def test_settings_classes_and_figures_are_in_it(models, tmp_path):
    (tmp_path / "figures.md").write_text("Dice 0.9\n")
    folder = build(models, tmp_path / "out", figures=tmp_path / "figures.md").folder
    readme = (folder / "docs" / "README.md").read_text("utf-8")
    assert "## Performance\nDice 0.9\n" in readme and "| `encoder_channels` | `[4, 8, 8]` |" in readme
    assert "0 background, 1 brain" in readme and "trained on: noise." in readme and "{{" not in readme
    assert "**Built for development" in readme
    assert "trained on: noise." in (folder / "docs" / "data_license.txt").read_text()
    config = json.loads((folder / "configs" / "inference.json").read_text())
    assert (config["image_size"], config["spacing"], config["bundle_root"]) == (32, 4.0, ".")


def test_an_earlier_package_is_replaced_and_another_folder_is_not(models, tmp_path):
    folder = build(models, tmp_path).folder
    (folder / "docs" / "stale.txt").write_text("")
    assert not (build(models, tmp_path).folder / "docs" / "stale.txt").exists()
    (folder / "segmentations").mkdir()
    with pytest.raises(InputError, match="an earlier package, in which lies segmentations beside"):
        build(models, tmp_path)
    assert (folder / "segmentations").is_dir()
    other = tmp_path / "other" / "segmentation"
    other.mkdir(parents=True)
    (other / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="segmentation: expected no folder or an earlier package"):
        build(models, tmp_path / "other")
    assert (other / "thesis.txt").exists()


def test_a_bundles_own_folder_is_never_replaced(models):
    """It holds what no package has: configs as they are written, weights, runs."""
    source = sorted(path for path in (REPO / "bundles").rglob("*.yaml"))
    for place in (REPO / "bundles", REPO / "outputs" / ".." / "bundles"):
        with pytest.raises(
            InputError, match="segmentation: the bundle's own folder; name another --output_dir"
        ):
            build(models, place)
    assert sorted((REPO / "bundles").rglob("*.yaml")) == source


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": None}, "its weights do not fit the configured network"),
        ({"figures": "nowhere.md"}, r"--figures: nowhere\.md: expected a Markdown file, found none"),
    ],
)
def test_a_refused_package_leaves_nothing(models, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        build(models, tmp_path, **change)
    assert list(tmp_path.iterdir()) == []


def test_figures_that_are_no_utf8_are_refused(models, tmp_path):
    (tmp_path / "figures.md").write_bytes("Précision: 0.9".encode("latin-1"))
    with pytest.raises(InputError, match=r"figures\.md: expected a text file, .*; save it as UTF-8"):
        build(models, tmp_path / "out", figures=tmp_path / "figures.md")


@pytest.mark.parametrize("out", ["file", "file/out"])
def test_a_folder_that_cannot_be_made_is_one_line(models, tmp_path, out):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"expected a folder at \S+/file, found a file; name another folder"):
        build(models, tmp_path / out)
    assert (tmp_path / "file").read_text() == "kept"


def test_an_unknown_bundle_is_refused(models, tmp_path):
    with pytest.raises(
        InputError, match=r"lungs: expected one of the bundles \['adaptation', 'factory', 'segm"
    ):
        build_package("lungs", models["factory"], tmp_path)


@pytest.mark.parametrize("bundle", ["factory", "adaptation", "segmentation"])
def test_without_weights_the_demo_is_packaged_and_says_so(tmp_path, bundle):
    folder = build_package(bundle, None, tmp_path, development=True).folder
    demo, packaged = (
        load_tensors(file) for file in (REPO / f"bundles/{bundle}/models/demo.pt", folder / "models/model.pt")
    )
    # what a file of an earlier version lacks is completed
    assert tensors_of(packaged).keys() >= tensors_of(demo).keys()
    assert all(torch.equal(tensors_of(packaged)[name], tensor) for name, tensor in tensors_of(demo).items())
    metadata = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    assert metadata["intended_use"].startswith("Demo weights: for trying out, not for patients.")
    assert "Colin 27" in metadata["data_source"]
    readme = (folder / "docs" / "README.md").read_text("utf-8")
    assert "**Demo weights: for trying out, not for patients. A " in readme
    assert (REPO / f"bundles/{bundle}/docs/demo.md").read_text("utf-8").strip() in readme


def tensors_of(content):
    """The state dict of an export, or the file itself."""
    return content.get("model", content)


@pytest.mark.parametrize("option", [{"config": "a.yaml"}, {"trained_on": "x"}, {"figures": "a.md"}])
def test_what_describes_weights_wants_weights(tmp_path, option):
    with pytest.raises(InputError, match=f"--{next(iter(option))}: expected --weights beside it"):
        build_package("segmentation", None, tmp_path, development=True, **option)
