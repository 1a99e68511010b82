from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.hyper_parameters import RULES, check_values, has_our_values, value_faults
from shared_components.yaml_files import read_configs, references

BUNDLES = Path(__file__).parents[1] / "bundles"
WIRING = {"imports", "initialize", "run", "finalize", "device", "backend", "local_rank", "handlers"}
EXPRESSIONS = {
    "network",
    "result",
    "segmenter",
    "critic",
    "generator",
    "number",
    "items",
    "description",
    "cases",
    "pending",
    "preprocessing",
}
WORKFLOWS = [
    (bundle, files)
    for bundle, several in {
        "factory": (
            "train",
            "train smoke",
            "train paper",
            "inference",
            "inference demo",
            "audit",
            "directions",
            "project",
        ),
        "adaptation": (
            "train",
            "train smoke",
            "train self_training",
            "train translation",
            "train published_network published",
            "pretrain",
            "pretrain histogram",
            "pretrain fine_tuning",
            "quantiles",
            "twins",
            "pretrain published_network published_pretrain",
            "synthesize",
            "shapes",
            "choose",
            "inference",
            "inference evaluate",
            "published_network published_inference",
        ),
        "segmentation": (
            "train",
            "train smoke",
            "train unet",
            "train meta_learning",
            "train meta_learning paper",
            "inference",
            "inference demo_cords",
            "inference evaluate",
        ),
    }.items()
    for files in several
]


def config(bundle, files):
    return read_configs(BUNDLES / bundle / "configs" / f"{name}.yaml" for name in ("common", *files.split()))


@pytest.mark.parametrize(("bundle", "files"), WORKFLOWS)
def test_every_value_of_every_config_has_a_rule_and_fits(bundle, files):
    found = config(bundle, files)
    assert has_our_values(found)
    assert value_faults(found) == []
    plain = {id for id, value in found.items() if not isinstance(value, dict)}
    assert plain - set(RULES) - WIRING - EXPRESSIONS == set()


def test_every_list_of_a_data_root_may_be_segmented():
    assert value_faults({"split": "all"}) == []
    assert "expected one of training, validation, test, all" in value_faults({"split": "every"})[0]


@pytest.mark.parametrize(("bundle", "files"), [one for one in WORKFLOWS if " " not in one[1]])
def test_every_value_of_a_config_is_used_in_it(bundle, files):
    own = read_configs([BUNDLES / bundle / "configs" / f"{files}.yaml"])
    assert own.keys() & RULES.keys() - references(config(bundle, files)) == set()


@pytest.mark.parametrize(("bundle", "files"), [one for one in WORKFLOWS if one[0] != "factory"])
def test_every_augmentation_keeps_the_contrast_that_is_asked_for(bundle, files):
    """But for the factory's, which changes no look."""
    for section in config(bundle, files).values():
        if isinstance(section, dict) and str(section.get("_target_")).endswith(".SliceAugmentation"):
            assert section["keep_contrast"] == "@keep_contrast"


def test_a_model_may_be_called_anything_else():
    assert value_faults({"ckpt_path": "out/best_checkpoint.pt"}) == []


def test_the_largest_part_is_kept_of_labels_that_there_are():
    def faults(**values):
        return value_faults({"labels": {0: "background", 1: "brain", 2: "skull"}} | values)

    assert faults(largest_component=[1, 2]) == faults(largest_component=False) == []
    assert faults(largest_component=[[1, 2]]) == faults(largest_component=[1, [2]]) == []
    assert faults(largest_component=[[1, 7]]) == ["largest_component: expected labels of [1, 2], found 7"]
    assert faults(largest_component=[1, 7]) == ["largest_component: expected labels of [1, 2], found 7"]
    assert faults(largest_component=[0]) == ["largest_component: expected labels of [1, 2], found 0"]
    (fault,) = faults(largest_component=[1, 700])
    assert "from 0 to 255" in fault


def test_every_rule_is_of_some_config():
    ids = set(itertools.chain.from_iterable(config(*workflow) for workflow in WORKFLOWS))
    assert set(RULES) - ids == set()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"ckpt_path": "out/checkpoint.pt"},
            r"ckpt_path: .*not the training's own checkpoint\.pt, found 'out",
        ),
        ({"image_size": 0}, "image_size: expected a whole number from 8 to 4096, found 0"),
        ({"image_size": "48"}, "image_size: .* found '48'; this is a text, write 48 without quotes"),
        ({"spacing": 1e-6}, "spacing: expected a number from 0.05 to 100 mm, or .*, or null, found 1e-06"),
        ({"spacing": [1, 2, 3]}, r"spacing: .*a list of 2, .* found \[1, 2, 3\]"),
        ({"positions": -4}, "positions: expected a whole number from 1 to 4096, found -4"),
        ({"orientation": "RAX"}, r"orientation: expected 'native' or one letter each .* found 'RAX'"),
        ({"orientation": "RAAS"}, "orientation: .* found 'RAAS'"),
        ({"percentiles": [99, 1]}, r"percentiles: .*the first below the second, found \[99, 1\]"),
        ({"channels": []}, r"channels: expected a list of 1 to 12, .* found \[\]"),
        ({"channels": [64, 0]}, r"channels: .* found \[64, 0\]"),
        ({"batch_size": 0}, "batch_size: expected a whole number from 1 to 4096, found 0"),
        (
            {"generator_lr": "1e-3"},
            "generator_lr: .* found '1e-3'; this is a text, write 0.001 without quotes",
        ),
        ({"generator_lr": float("nan")}, "generator_lr: expected a number above 0, up to 10, found nan"),
        ({"r1_every": 0}, "r1_every: expected a whole number from 1 to 1000000, found 0"),
        ({"style_mixing": 2}, "style_mixing: expected a number from 0 to 1, found 2"),
        ({"growth": {0: 5}}, r"growth: .* found \{0: 5\}"),
        ({"growth": [2]}, r"growth: expected a table .* found \[2\]"),
        ({"cache": "ram"}, "cache: expected one of memory, disk, none, found 'ram'"),
        ({"min_foreground": 5}, "min_foreground: expected a number from 0 to 1, found 5"),
        ({"slices_per_volume": 0}, "slices_per_volume: .*, or null, found 0"),
        ({"quiet": "yes please"}, "quiet: expected true or false, found 'yes please'"),
        ({"z_dim": "@nope"}, "z_dim: '@nope' cannot be resolved .*the referring item `@nope` is not defined"),
        ({"z_dim": "$1 / 0"}, r"z_dim: '\$1 / 0' cannot be resolved \(ZeroDivisionError: .*expected a whole"),
        ({"z_dim": "@w_dim", "w_dim": "@z_dim"}, "z_dim: .*circular"),
        ({"domains": ["a", "a"]}, r"domains: .*no two alike, found \['a', 'a'\]"),
        ({"labels": {0: "air", 2: "brain"}}, "labels: .*counted from 0"),
    ],
)
def test_a_value_that_may_not_be_is_named_with_what_is_allowed(values, message):
    with pytest.raises(InputError, match=message) as caught:
        check_values(config("factory", "train") | values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("id", "value", "message"),
    [
        ("encoder_widths", [8, 8], r"encoder_widths: expected a list of 4, each .* found \[8, 8\]"),
        ("encoder_blocks", [1, 1], r"encoder_blocks: expected a list of 4, each .* found \[1, 1\]"),
        ("translator_channels", [16], r"translator_channels: .*, at least 2 of them, found \[16\]"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(id, value, message):
    with pytest.raises(InputError, match=message):
        check_values(config("adaptation", "train published_network published") | {id: value})


def test_all_faults_at_once_and_the_config_is_as_before():
    given = config("adaptation", "train") | {"phases": [0, 0, 0], "own_share": -1}
    before = str(given)
    assert [fault.split(":")[0] for fault in value_faults(given)] == ["phases", "own_share"]
    assert str(given) == before


def test_expressions_and_references_are_checked_by_what_they_give():
    assert value_faults({"batch_size": "$2 * 3", "source_slices": "@batch_size"}) == []
    assert value_faults({"batch_size": "$2 * 0", "source_slices": "@batch_size"}) == [
        "batch_size: expected a whole number from 1 to 4096, found 0",
    ]
    assert value_faults({"batch_size": "$2 * 3", "source_slices": "$@batch_size - 6"}) == [
        "source_slices: expected a whole number from 1 to 4096, found 0"
    ]


def test_a_bundle_of_somebody_else_may_use_the_same_ids():
    assert not has_our_values({"image_size": [96, 96, 96], "initialize": ["$monai.utils.set_determinism(0)"]})


@pytest.mark.parametrize("device", ["mps", "meta", "cpu:7", "cuda:99"])
def test_devices_that_are_not_there_are_refused(device):
    assert RULES["device"].fits("cpu") and not RULES["device"].fits(device)
