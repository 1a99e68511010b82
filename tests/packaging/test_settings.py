from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigParser

from shared_components.errors import InputError
from shared_components.packaging.settings import as_json, merged_configs, read_overrides
from shared_components.yaml_files import references
from tests.packaging.small import BUNDLES

SEGMENTATION = BUNDLES / "segmentation" / "configs"


def merged(config) -> dict:
    return merged_configs(SEGMENTATION, read_overrides(config))


def test_every_workflow_becomes_one_config():
    assert list(merged(None)) == ["train", "inference", "evaluate"]
    assert list(merged_configs(BUNDLES / "adaptation" / "configs")) == [
        "train", "pretrain", "synthesize", "inference", "evaluate"
    ]  # fmt: skip
    assert list(merged_configs(BUNDLES / "factory" / "configs")) == ["train", "inference"]
    evaluation = merged(None)["evaluate"]
    assert evaluation["labelled"] is True  # evaluate.yaml after inference.yaml
    assert "score_segmentations" in evaluation["run"][-1]
    assert "$import shared_components.inferers as inferers" in evaluation["imports"]


def test_a_setting_of_common_goes_everywhere_and_others_where_they_stand():
    configs = merged({"image_size": 64, "batch_size": 2, "largest_component": [1]})
    assert {config["image_size"] for config in configs.values()} == {64}
    assert configs["train"]["batch_size"] == 2 and "batch_size" not in configs["inference"]
    assert configs["evaluate"]["largest_component"] == [1] and "largest_component" not in configs["train"]


def test_the_wiring_of_a_training_stays_in_the_training():
    configs = merged([SEGMENTATION / "unet.yaml"])
    assert configs["train"]["network"] == "$@train::averaged.to(@device)"
    assert configs["inference"]["network"] == "$@network_def.to(@device)"
    assert configs["inference"]["anatomy_channels"] == "$len(@labels)"
    assert configs["train"]["train"]["trainer"]["_target_"] == "SupervisedTrainer"
    assert "train" not in configs["inference"]


def test_later_settings_replace_earlier_ones_and_files_take_turns_with_mappings(tmp_path):
    file = tmp_path / "training.yaml"
    file.write_text("image_size: 96\nspacing: 1.5\n")
    inference = merged([file, {"image_size": 128}])["inference"]
    assert (inference["image_size"], inference["spacing"]) == (128, 1.5)


def test_where_a_run_was_made_is_left_out():
    run = {"ckpt_path": "/of/one/machine.pt", "dataset_dir": "/data", "device": "cuda:3", "seed": 3}
    inference = merged(run)["inference"]
    assert (inference["ckpt_path"], inference["seed"]) == ("$@bundle_root + '/models/model.pt'", 3)
    assert inference["dataset_dir"] == "data" and inference["device"].startswith("$torch.device")


def test_a_trainings_whole_config_gives_its_settings_and_no_wiring():
    own = merged(None)
    imports = [*own["train"]["imports"], "$import math"]
    whole = own["train"] | {
        "imports": imports,
        "image_size": 96,
        "initialize": [],
        "run": [],
        "bundle_root": "/one/machine",
    }
    configs = merged(whole)
    assert {name: config["image_size"] for name, config in configs.items()} == dict.fromkeys(own, 96)
    changed = {key for key in own["inference"] if configs["inference"][key] != own["inference"][key]}
    assert changed == {"imports", "image_size"}
    imports = configs["inference"]["imports"]
    assert imports == [*own["inference"]["imports"], "$import math"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("nowhere.yaml", r"--config: nowhere\.yaml: expected a config file, found none"),
        ({"image_sise": 64}, r"--config: 'image_sise' is no id of the bundle's configs"),
        ({"train::datset::size": 64}, r"--config: 'train::datset::size' does not fit the bundle's configs"),
        ({"split": "/data/of/one/machine"}, r"split: expected a value that holds on every machine"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        merged(config)


def test_settings_of_a_choice_and_of_its_candidates_will_do():
    choice = {
        "candidates": {"plain": "/one/model.pt"},
        "shapes_paths": ["/one/shapes.json"],
        "margin": None,  # of `study: {shapes: false}`
        "partner": 0.9,
        "most_slices": 20,
        "image_size": 64,
    }
    assert read_overrides([choice, {"teacher_paths": ["/one/model.pt"]}]) == [{"image_size": 64}, {}]


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "a: [1"), ("a.json", "{"), ("a.yaml", "- 1\n")])
def test_files_that_are_no_configs_are_refused_in_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}: expected") as caught:
        read_overrides(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_without_the_configs_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected common\.yaml and inference\.yaml"):
        merged_configs(tmp_path)


def test_whole_numbers_as_keys_survive_json():
    text = as_json(
        {"labels": {0: "background", 1: "it's"}, "nested": {"growth": {2: 300}}, "list": [1, "@labels"]}
    )
    parser = ConfigParser(json.loads(text))
    assert parser.get_parsed_content("labels") == {0: "background", 1: "it's"}
    assert parser.get_parsed_content("nested")["growth"] == {2: 300}
    assert parser.get_parsed_content("list")[1] == {0: "background", 1: "it's"}


def test_references_are_found_in_nested_values():
    assert references({"a": ["@one::two", "$len(@three)"], "b": 4}) == {"one", "three"}
