from __future__ import annotations

import json

import pytest

from shared_components.errors import InputError
from shared_components.packaging.settings import merged_configs, read_overrides
from shared_components.packaging.texts import (
    data_license,
    package_metadata,
    readme,
    requirements,
    settings_table,
    slice_shape,
)
from tests.packaging.small import BUNDLES


def test_a_template_is_filled_and_other_braces_stay():
    assert readme('{{a}} {"json": {"b": 1}} {{a}}', a="x", unused="y") == 'x {"json": {"b": 1}} x'


def test_a_name_without_a_value_is_refused():
    with pytest.raises(InputError, match=r"package\.md: expected \['a'\] in double braces, found b"):
        readme("{{a}} {{b}}", a="x")


def test_settings_are_values_and_neither_wiring_nor_places():
    config = {
        "imports": ["$import torch"], "labels": {0: "background"}, "spacing": 1.5, "output_dir": "out",
        "twice": "$2 * @spacing", "network": {"_target_": "UNet"}, "window": [-1, -1], "run": [],
    }  # fmt: skip
    assert settings_table(config).splitlines()[2:] == [
        "| `labels` | `{0: 'background'}` |", "| `spacing` | `1.5` |", "| `window` | `[-1, -1]` |"
    ]  # fmt: skip


def test_requirements_and_licence_of_the_data():
    metadata = {"monai_version": "1", "pytorch_version": "2", "numpy_version": "3"}
    metadata["required_packages_version"] = {"nibabel": "4"}
    assert requirements(metadata) == "monai==1\ntorch==2\nnumpy==3\nnibabel==4\n"
    assert 'in "models" were trained on: ten heads.\n' in data_license("ten heads.")


def described(bundle: str, **settings) -> dict:
    configs = BUNDLES / bundle / "configs"
    config = merged_configs(configs, read_overrides(settings))["inference"]
    return package_metadata(json.loads((configs / "metadata.json").read_text()), config, "forty hearts.")


@pytest.mark.parametrize("bundle", ["adaptation", "segmentation"])
def test_classes_and_shapes_are_those_of_the_weights(bundle):
    content = described(bundle, labels={0: "background", 5: "liver", 7: "spleen"})
    pred = content["network_data_format"]["outputs"]["pred"]
    assert pred["num_channels"] == 3
    assert pred["channel_def"] == {"0": "background", "1": "liver", "2": "spleen"}
    assert content["pred_classes"].endswith("0 background, 5 liver, 7 spleen")
    assert content["data_source"].startswith("Weights: forty hearts. ")
    image = content["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == pred["spatial_shape"] == ["16*n", "16*n"]


def test_the_factorys_latent_and_volume():
    tensors = described("factory", z_dim=7, image_size=24, slices=5)["network_data_format"]
    assert tensors["inputs"]["image"]["num_channels"] == 7
    assert tensors["outputs"]["pred"]["spatial_shape"] == [24, 24, 5]


@pytest.mark.parametrize(
    ("window", "shape"), [([-1, -1], ["32*n", "32*n"]), ("$[@image_size, @image_size]", [48, 48])]
)
def test_windows_fix_the_size_of_slices(window, shape):
    assert slice_shape({"window": window, "multiple": 16, "image_size": 48}) == shape
