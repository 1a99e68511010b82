from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from shared_components.benchmarks import BUNDLES
from shared_components.benchmarks.unseen_rows import (
    DISENTANGLEMENT,
    FULL,
    ROWS,
    SCENARIOS,
    UnseenBench,
    UnseenRun,
)
from shared_components.benchmarks.unseen_stages import unseen_stages
from shared_components.data.client_root import ClientRoot
from shared_components.data.domain_splits import domain_items
from shared_components.data.phantoms.writer import RECORD
from shared_components.data.spinal_cord import SITES
from shared_components.federation.file_digests import FileDigests
from shared_components.study.client_stages import study_stages
from shared_components.study.roles import plan_study
from shared_components.study.settings import GENERALISATION
from shared_components.study.stage import Stage, merged_config
from shared_components.study.study import EVERYBODY
from tests.federation.tiny import make_root

TRAINED = [row for row in ROWS if not ROWS[row].synthetic]  # by a run of the bundle alone
DOMAINS = SCENARIOS["cardiac"].domains


@pytest.fixture
def hearts(tmp_path) -> UnseenBench:
    bench = UnseenBench("cardiac", tmp_path)
    for seed in range(2):
        for domain in DOMAINS:
            root = bench.data(seed) / domain
            root.mkdir(parents=True)
            (root / "dataset.json").write_text(f"{domain}{seed}")
    return bench


def stages(bench: UnseenBench, row: str, held_out: str = "D", seed: int = 0) -> tuple[Stage, Stage]:
    return unseen_stages(UnseenRun(bench, seed, held_out, row))


def merged(stage: Stage) -> ConfigParser:
    """What the stage's workflow is built of."""
    # which others look up too
    parser = ConfigParser(deepcopy(merged_config(tuple(stage.config_files)).get()))
    parser.update(dict(stage.overrides))
    return parser


def test_every_combination_is_a_run_and_seeds_come_one_after_the_other(hearts):
    places = hearts.places(range(2), "CD", ["unet", FULL])
    assert len(places) == len(set(places)) == 8
    assert [place.seed for place in places] == [0] * 4 + [1] * 4
    assert len({place.training for place in places} | {place.predictions for place in places}) == 16


@pytest.mark.parametrize("row", TRAINED)
def test_every_override_is_a_value_of_the_bundle(row, hearts):
    """MONAI accepts an unknown id silently."""
    for stage in stages(hearts, row):
        assert set(stage.overrides) - set(merged_config(tuple(stage.config_files)).get()) == set()
        assert stage.bundle == str(BUNDLES / "segmentation")


@pytest.mark.parametrize("row", [row for row in TRAINED if not ROWS[row].unseen])
def test_the_held_out_domain_is_left_out_and_then_scored(row, hearts):
    training, evaluation = stages(hearts, row, "B", seed=1)
    found = merged(training)
    assert (found["held_out"], found["seed"], found["label_seed"]) == ("B", 1, 1)
    assert found["label_fraction"] == 0.1
    assert [Path(root).name for root in found["dataset_dir"]] == list(DOMAINS)
    assert merged(evaluation)["dataset_dir"] == str(hearts.data(1) / "B")
    assert merged(evaluation)["split"] == "test"
    assert merged(evaluation)["ckpt_path"] == found["ckpt_path"] == str(training.folder / "model.pt")


def test_the_bound_learns_from_all_labels_of_the_unseen_domain(hearts):
    training, _ = stages(hearts, "bound", "B")
    found = merged(training)
    assert (found["domains"], found["held_out"], found["label_fraction"]) == (["B"], None, 1.0)
    assert found["dataset_dir"] == [str(hearts.data(0) / "B")]


def test_rows_differ_in_what_their_names_say(hearts):
    full = stages(hearts, FULL)[0].overrides
    differences = {
        row: {key for key, value in stages(hearts, row)[0].overrides.items() if full.get(key) != value}
        for row in TRAINED
    }
    assert {row: found - {"ckpt_path"} for row, found in differences.items() if ROWS[row].ablation} == {
        "no_unlabelled": {"unlabelled_updates"},
        "no_meta_learning": {"meta_learning"},
        "no_teacher": {"teacher_epochs"},
        "no_average": {"average"},
        "second_order": {"second_order"},
        "no_disentanglement": set(DISENTANGLEMENT),
    }
    assert differences["meta_learning"] - {"ckpt_path"} == {"looks"}
    assert stages(hearts, "meta_learning")[0].overrides["looks"] == "none"
    assert differences["meta_learning_mild"] - {"ckpt_path"} == {"looks"}
    for row in ("unet", "unet_augmented", "bound"):
        training, evaluation = stages(hearts, row)
        assert "unet.yaml" in training.configs
        assert merged(training)["anatomy_channels"] == merged(evaluation)["anatomy_channels"] != 8


def test_fingerprint_follows_data_and_settings(hearts):
    def fingerprints(*arguments, bench: UnseenBench = hearts, **options) -> list[str]:
        return [
            stage.fingerprint(FileDigests(), ["trained"] * len(stage.needs))
            for stage in stages(bench, *arguments, **options)
        ]

    found = [*fingerprints("unet"), *fingerprints("synthetic")]
    assert [*fingerprints("unet"), *fingerprints("synthetic")] == found
    found += fingerprints("unet", seed=1) + fingerprints("unet", "C") + fingerprints(FULL)
    found += fingerprints("unet", bench=replace(hearts, smoke=True))
    (hearts.data(0) / "D" / "dataset.json").write_text("other subjects")
    found += fingerprints("unet")
    assert len(set(found)) == len(found) == 14
    (hearts.data(0) / RECORD).write_text("beside the data")
    assert fingerprints("unet") == found[-2:]


def test_evaluation_waits_for_its_own_training(hearts):
    pairs = [unseen_stages(place) for place in hearts.places(range(2), "CD", tuple(ROWS))]
    keys = {stage.key for pair in pairs for stage in pair}
    assert len(keys) == 2 * 2 * 2 * len(ROWS)
    assert all(evaluation.needs == (training.key,) for training, evaluation in pairs)


@pytest.mark.parametrize("looks", ["mild", "strong"])
def test_the_fair_baseline_lacks_meta_learning_and_disentanglement_alone(looks, hearts):
    baseline, ours = {"mild": ("self_trained_mild", "meta_learning_mild"), "strong": ("self_trained", FULL)}[
        looks
    ]
    one, other = (merged(stages(hearts, row)[0]).get() for row in (baseline, ours))
    different = {key for key in one if one[key] != other[key]} - {
        "ckpt_path",
        "second_order",
        "picture_every",
    }
    assert different == {"meta_learning", "shared_modules", *DISENTANGLEMENT}
    assert one["looks"] == looks and one["teacher_epochs"] and one["average"] and one["unlabelled_updates"]


def test_a_unet_of_as_many_updates_and_a_third_of_all(hearts):
    def found(row: str, **size) -> list:
        config = merged(stages(replace(hearts, **size), row)[0])
        return [config[key] for key in ("max_epochs", "warm_up_epochs", "teacher_epochs", "batch_size")]

    assert found(FULL) == found("self_trained") == [20, 12, [13, 17], 4]
    assert found("averaged")[::3] == [12 + 2 * 8, 8] and found("unet")[::3] == [24, 16]
    assert found(FULL, fast=True) == [7, 4, [5, 6], 4]
    assert found("averaged", fast=True)[0] == 4 + 2 * 3 and found("unet", fast=True)[0] == 8
    assert found("no_teacher", fast=True)[:3] == [7, 4, []]


def test_hospitals_train_with_all_but_the_one_whose_test_is_scored(tmp_path):
    bench = UnseenBench("spine_unseen", tmp_path)
    bench.scenario.make(bench.data(0), 0, True)
    training, evaluation = stages(bench, "self_trained", "milan")
    config = merged(training)
    splits = {
        split: domain_items(config["dataset_dir"], split, "milan", None, SITES, config["labels"])
        for split in ("training", "validation")
    }
    labelled = [item["domain"] for item in splits["training"] if "label" in item]
    assert sorted(labelled) == sorted(set(SITES) - {"milan"}) and len(splits["training"]) == 2 * 5
    assert {item["domain"] for item in splits["validation"]} == {"ceitec"}
    tested = ClientRoot.load(evaluation.overrides["dataset_dir"]).items("test", labelled=True)
    assert [item["subject"] for item in tested] == ["milan_ses1_run1", "milan_ses2_run1"]
    assert (config["image_size"], config["spacing"], config["label_fraction"]) == (64, 0.7, 1.0)
    assert merged(evaluation)["spacing"] == 0.7 and merged(evaluation)["orientation"] == "RAS"


@pytest.mark.parametrize(
    ("scenario", "size", "settings"),
    [
        ("cardiac", {}, (48, 3.7)),
        ("cardiac", {"smoke": True}, (32, 6.0)),
        ("spine_unseen", {"fast": True}, (64, 0.7)),
        ("spine_unseen", {"smoke": True}, (32, 1.4)),
    ],
)
def test_held_out_domain_takes_no_part_and_the_model_is_scored_where_it_lies(
    tmp_path, scenario, size, settings
):
    bench = UnseenBench(scenario, tmp_path, **size)
    held_out, *others = bench.scenario.domains
    for domain in bench.scenario.domains:
        make_root(bench.data(0) / domain, domain, images=2, seed=0)
    place = UnseenRun(bench, 0, held_out, "synthetic")
    training, evaluation = unseen_stages(place)
    study = plan_study(training.federation())
    stages = study_stages(study)
    assert set(study.roots) == set(others) and study.source == others[0] and not study.targets
    assert str(place.data / held_out) not in training.reads and len(training.reads) == 2 + len(others)
    model = study.place(EVERYBODY, GENERALISATION) / "model.pt"
    assert evaluation.overrides["ckpt_path"] == str(model)
    assert (study.agreed["image_size"], study.agreed["spacing"]) == settings
    assert model.parent in [stage.folder for stage in stages]
    lengths = study.section("generalisation")
    assert lengths.get("max_epochs") == {"fast": 7, "smoke": 2}.get(next(iter(size), ""))
