from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.packaging.texts import data_license, readme, requirements, settings_table


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
