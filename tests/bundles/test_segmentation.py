"""The segmentation bundle's training from its own configs: resuming, the held-out domain, baselines, federations."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from shared_components.errors import input_error_in
from shared_components.records import read_table
from tests.bundles.tiny import (
    BUNDLES,
    SIZES,
    assert_same_run,
    changed_modules,
    config_files,
    different,
    federated_by_monai,
    kill_at,
    make_root,
    tensors,
    workflow,
)

DOMAINS = ["t1", "t2", "pet"]
VALUES = {"domains": DOMAINS, "labels": {0: "background", 1: "brain"}, "orientation": "RAS"}
VALUES |= {"max_epochs": 3, "warm_up_epochs": 1, "teacher_epochs": [2]}  # an epoch of each kind


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> list[str]:
    """Data roots of three domains, all labelled."""
    folder = tmp_path_factory.mktemp("domains")
    return [str(make_root(folder / domain, domain, seed=n)) for n, domain in enumerate(DOMAINS)]


def plain_training(roots: list[str], output_dir: Path, *more: str, **overrides) -> ConfigWorkflow:
    values = VALUES | {"dataset_dir": roots, "output_dir": output_dir, "ckpt_path": output_dir / "model.pt"}
    return workflow("segmentation", "train.yaml", *more, **(values | {"label_fraction": 0.5} | overrides))


def training(roots: list[str], output_dir: Path, **overrides) -> ConfigWorkflow:
    """By meta-learning, which has the most parts."""
    return plain_training(roots, output_dir, "meta_learning.yaml", **overrides)


@pytest.fixture(scope="module")
def trained(roots, tmp_path_factory) -> Path:
    """The folder of an unbroken training with pet held out."""
    folder = tmp_path_factory.mktemp("trained")
    training(roots, folder, held_out="pet").run()
    return folder


@pytest.fixture(scope="module")
def plainly_trained(roots, tmp_path_factory) -> Path:
    """The same by the default recipe."""
    folder = tmp_path_factory.mktemp("plain")
    plain_training(roots, folder, held_out="pet").run()
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    return read_table(folder / "metrics.csv", "train again")


@pytest.mark.parametrize("more", [(), ("unet.yaml",), ("meta_learning.yaml",)])
def test_it_has_what_monai_asks_for(roots, tmp_path, more):
    assert not plain_training(roots, tmp_path, *more).check_properties()


def test_meta_learning_begins_after_the_warm_up(trained):
    warm_up, *after = rows_of(trained)
    assert warm_up["reconstruction"] == warm_up["meta_test"] == ""
    assert all(float(row[name]) > 0 for row in after for name in ("reconstruction", "meta_test"))


def test_by_default_scores_and_the_teachers_labels_are_all_that_is_learnt_from(plainly_trained):
    warm_up, *after = rows_of(plainly_trained)
    assert {"reconstruction", "domain", "meta_test"}.isdisjoint(warm_up)
    assert warm_up["unlabelled"] == "" and all(float(row["unlabelled"]) > 0 for row in after)
    network = torch.load(plainly_trained / "checkpoint.pt", weights_only=True)["network"]
    parts = {name.split(".")[0] for name in network}
    assert {"anatomy_encoder", "style_encoder", "decoder"} < parts  # a checkpoint fits either recipe


@pytest.mark.parametrize("recipe", ["trained", "plainly_trained"])
def test_training_leaves_table_checkpoint_and_the_anatomy_encoder(recipe, request):
    trained = request.getfixturevalue(recipe)
    rows = rows_of(trained)
    assert all(0 <= float(row["validation_dice"]) <= 1 for row in rows)
    checkpoint = torch.load(trained / "checkpoint.pt", weights_only=True)
    exported = torch.load(trained / "model.pt", weights_only=True)
    assert different(exported["model"], checkpoint["best_weights"]["tensors"]) == []
    best = max(float(row["validation_dice"]) for row in rows)
    assert checkpoint["best_weights"]["metric"] == pytest.approx(best, abs=1e-5)
    assert exported["description"]["domains"] == ["t1", "t2"]
    assert {name.split(".")[0] for name in exported["model"]} == {"anatomy_encoder"}


@pytest.mark.parametrize("update", [1, 3, 5])
def test_killed_training_resumes_exactly(roots, trained, tmp_path, update):
    kill_at(training(roots, tmp_path, held_out="pet"), update)
    if update < 2:  # no checkpoint yet
        shutil.rmtree(tmp_path)
        training(roots, tmp_path, held_out="pet").run()
    else:
        training(roots, tmp_path, held_out="pet", resume=True).run()
    assert_same_run(trained, tmp_path, "model.pt")


def test_the_default_recipe_resumes_exactly_too(roots, plainly_trained, tmp_path):
    kill_at(plain_training(roots, tmp_path, held_out="pet"), 5)
    plain_training(roots, tmp_path, held_out="pet", resume=True).run()
    assert_same_run(plainly_trained, tmp_path, "model.pt")


def test_no_image_of_the_held_out_domain_is_ever_opened(roots, trained, tmp_path):
    data = [shutil.copytree(root, tmp_path / Path(root).name) for root in roots]
    for file in [*data[2].glob("images/*"), *data[2].glob("labels/*")]:
        file.write_bytes(b"not to be read")
    output = tmp_path / "output"
    training([str(root) for root in data], output, held_out="pet").run()
    assert_same_run(trained, output, "model.pt")  # training, validation and the choice of the model


def test_few_labels_count_and_the_rest_is_unlabelled(roots, tmp_path):
    dataset = training(roots, tmp_path, label_fraction=0.1).parser.get_parsed_content("train::dataset")
    labelled = [item["domain"] for item in dataset.items if "label" in item]
    assert sorted(labelled) == sorted(DOMAINS)  # one subject of each
    assert len(dataset.items) == 9


@pytest.mark.parametrize(
    "option",
    [
        {"meta_learning": False},
        {"second_order": False},
        {"unlabelled_updates": False},
        {"adapted": ["style_encoder", "decoder"]},
        {
            "reconstruction_weight": 0,
            "regression_weight": 0,
            "prior_weight": 0,
            "domain_weight": 0,
            "rank_weight": 0,
        },
    ],
)
def test_every_switch_trains_and_makes_a_difference(roots, trained, tmp_path, option):
    training(roots, tmp_path, held_out="pet", **option).run()
    one, other = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (trained, tmp_path))
    assert different(one["network"], other["network"])
    assert all(math.isfinite(float(value)) for row in rows_of(tmp_path) for value in row.values() if value)


def test_nobodys_labels_are_refused(roots, tmp_path):
    data = [Path(shutil.copytree(root, tmp_path / Path(root).name)) for root in roots]
    for root in data:
        content = json.loads((root / "dataset.json").read_text())
        for entry in content["training"]:
            entry.pop("label", None)
        (root / "dataset.json").write_text(json.dumps(content))
    flow = plain_training([str(root) for root in data], tmp_path / "out", val_interval=0)
    with pytest.raises(RuntimeError) as caught:
        flow.run()
    assert "expected labels of some of the 9 images, found none" in str(input_error_in(caught.value))
    assert not (tmp_path / "out" / "model.pt").exists()


def test_a_training_goes_on_by_its_own_recipe_alone(roots, trained, tmp_path):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    with pytest.raises(RuntimeError) as caught:
        plain_training(roots, folder, held_out="pet", max_epochs=4, resume=True).run()
    assert "the run to resume had meta_learning: True, now it is False" in str(input_error_in(caught.value))


def test_the_plain_unet_trains_on_the_same_labelled_subjects(roots, tmp_path):
    flow = plain_training(roots, tmp_path, "unet.yaml", max_epochs=2)
    flow.run()
    full = training(roots, tmp_path).parser.get_parsed_content("train::dataset")
    dataset = flow.parser.get_parsed_content("train::dataset")
    assert dataset.subjects == [item["subject"] for item in full.items if "label" in item]
    assert float(rows_of(tmp_path)[1]["loss"]) > 0
    assert tensors(tmp_path / "model.pt")


def test_without_validation_data_the_last_weights_are_the_model(roots, tmp_path):
    data = [Path(shutil.copytree(root, tmp_path / Path(root).name)) for root in roots]
    for root in data:
        content = json.loads((root / "dataset.json").read_text()) | {"validation": []}
        (root / "dataset.json").write_text(json.dumps(content))
    training([str(root) for root in data], tmp_path, val_interval=0).run()
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    network, found = checkpoint["network"], tensors(tmp_path / "model.pt")
    averaged = {n: network[n.replace("anatomy_encoder", "averaged_encoder.module", 1)] for n in found}
    assert different(found, averaged) == []


def test_it_runs_from_inside_the_bundles_folder(roots, tmp_path):
    configs = "['configs/common.yaml','configs/train.yaml','configs/smoke.yaml']"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", configs, "--bundle_root", "."]
    epochs = ("max_epochs", "warm_up_epochs", "teacher_epochs")  # smoke.yaml's own
    values = {name: value for name, value in VALUES.items() if name not in epochs} | {"spacing": 4.0}
    values |= {"dataset_dir": roots, "output_dir": tmp_path, "ckpt_path": tmp_path / "model.pt"}
    for name, value in values.items():
        command += [f"--{name}", str(value)]
    subprocess.run(command, cwd=BUNDLES / "segmentation", check=True, capture_output=True)
    assert (tmp_path / "model.pt").is_file()
    warm_up, taught = rows_of(tmp_path)
    assert warm_up["unlabelled"] == "" and float(taught["unlabelled"]) > 0
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["teacher"]["ready"]


def test_the_published_settings_tell_their_augmentation():
    parser = ConfigParser(
        ConfigParser.load_config_files(config_files("segmentation", "train.yaml", "paper.yaml"))
    )
    assert parser.get_parsed_content("settings")["looks"] == "none"
    steps = parser.get_parsed_content("augmentation").transform.transforms
    assert [type(step).__name__ for step in steps] == ["RandAffined", "RandFlipd", "RandFlipd", "RandBlurd"]


@pytest.mark.parametrize(
    ("more", "trained_too"),
    [((), set()), (("meta_learning.yaml",), {"style_encoder", "decoder", "domain_classifier"})],
)
def test_monai_algo_trains_two_rounds(roots, tmp_path, more, trained_too):
    values = VALUES | {"dataset_dir": roots, "output_dir": tmp_path, "warm_up_epochs": 0}
    before, after, updates = federated_by_monai("segmentation", "train.yaml", *more, **values)
    assert updates == 4
    assert changed_modules(before, after) == {"anatomy_encoder", "averaged_encoder", *trained_too}
    assert SIZES["spacing"] == 4.0
