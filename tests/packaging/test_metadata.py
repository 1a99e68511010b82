from __future__ import annotations

import json

import pytest

from shared_components.packaging.metadata import package_metadata, slice_shape
from shared_components.packaging.settings import merged_configs, read_overrides
from tests.packaging.small import BUNDLES


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
