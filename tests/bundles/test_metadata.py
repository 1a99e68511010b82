"""What a bundle says of itself, against its configs and the packages that it runs with."""

from __future__ import annotations

import json
from importlib.metadata import version

import monai
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, verify_net_in_out

from shared_components.networks.factory import export_generator
from tests.bundles.tiny import BUNDLES

NAMES = sorted(file.parts[-3] for file in BUNDLES.glob("*/configs/metadata.json"))
TEXTS = ["schema", "version", "task", "description", "authors", "copyright", "data_source", "intended_use"]


def metadata(bundle: str) -> dict:
    return json.loads((BUNDLES / bundle / "configs" / "metadata.json").read_text())


@pytest.mark.parametrize("bundle", NAMES)
def test_metadata_has_the_fields_of_the_public_schema(bundle):
    content = metadata(bundle)
    assert all(isinstance(content[name], str) and content[name] for name in TEXTS)
    assert content["version"] in content["changelog"]
    assert all(isinstance(reference, str) for reference in content["references"]) and content["references"]
    for tensor in (
        content["network_data_format"]["inputs"]["image"],
        content["network_data_format"]["outputs"]["pred"],
    ):
        assert isinstance(tensor["num_channels"], int)
        assert {"type", "format", "spatial_shape", "dtype", "value_range"} <= tensor.keys()


@pytest.mark.parametrize("bundle", NAMES)
def test_versions_are_those_that_the_tests_run_with(bundle):
    content = metadata(bundle)
    found = (monai.__version__, torch.__version__.split("+")[0], np.__version__)
    assert (content["monai_version"], content["pytorch_version"], content["numpy_version"]) == found
    assert {name: version(name) for name in content["required_packages_version"]} == content[
        "required_packages_version"
    ]


@pytest.mark.parametrize("bundle", NAMES)
def test_reading_it_by_monai_keeps_the_required_packages_and_says_nothing(bundle, recwarn):
    """MONAI takes ``optional_packages_version`` for an old name of the required ones, and replaces them with it."""
    parser = ConfigParser()
    parser.read_config(BUNDLES / bundle / "configs" / "common.yaml")
    parser.read_meta(BUNDLES / bundle / "configs" / "metadata.json")
    assert parser["_meta_"]["required_packages_version"] == metadata(bundle)["required_packages_version"]
    parser.get_parsed_content("bundle_root")
    assert parser["_meta_"]["required_packages_version"] == metadata(bundle)["required_packages_version"]
    assert [str(warning.message) for warning in recwarn if "deprecated name" in str(warning.message)] == []


@pytest.mark.parametrize("bundle", NAMES)
def test_the_bundle_is_complete(bundle):
    for file in ("LICENSE", "docs/README.md", "docs/data_license.txt", "models/README.md"):
        assert (BUNDLES / bundle / file).stat().st_size > 0
    assert "Apache License" in (BUNDLES / bundle / "LICENSE").read_text()


@pytest.mark.parametrize("bundle", NAMES)
def test_the_network_takes_and_gives_what_the_metadata_says(bundle, tmp_path):
    configs = BUNDLES / bundle / "configs"
    files = [str(configs / name) for name in ("common.yaml", "inference.yaml")]
    parser = ConfigParser()
    parser.read_config(files)
    parser["bundle_root"] = str(tmp_path)
    shape = metadata(bundle)["network_data_format"]["outputs"]["pred"]["spatial_shape"]
    (tmp_path / "models").mkdir()
    if bundle == "factory":
        generator = parser.get_parsed_content("generator_def")
        domains, labels = parser["domains"], parser["labels"]
        export_generator(generator, tmp_path / "models/model.pt", domains, labels, 4.5, "RAS")
        latent = torch.zeros(1, metadata(bundle)["network_data_format"]["inputs"]["image"]["num_channels"])
        assert list(parser.get_parsed_content("network_def")(latent).shape) == [1, 1, *shape]
    verify_net_in_out(
        "network_def", meta_file=str(configs / "metadata.json"), config_file=files, device="cpu", n=4,
        bundle_root=str(tmp_path),
    )  # fmt: skip
