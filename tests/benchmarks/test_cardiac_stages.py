from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from shared_components.benchmarks.cardiac_places import DOMAINS, Place, job_places
from shared_components.benchmarks.cardiac_rows import FULL, ROWS
from shared_components.benchmarks.cardiac_stages import cardiac_stages
from shared_components.benchmarks.repository import BUNDLES
from shared_components.data.phantoms.writer import RECORD
from shared_components.federation.file_digests import FileDigests
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import merged_config

TRAINED = [row for row in ROWS if not ROWS[row].synthetic]  # by a run of the bundle alone


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed in range(2):
        for domain in DOMAINS:
            root = tmp_path / f"data{seed}" / domain
            root.mkdir(parents=True)
            (root / "dataset.json").write_text(f"{domain}{seed}")
    return tmp_path


def stages(folder: Path, row: str, held_out: str = "D", seed: int = 0, **options) -> tuple[Stage, Stage]:
    return cardiac_stages(Place(folder, seed, held_out, row), **options)


def merged(stage: Stage) -> ConfigParser:
    """What the stage's workflow is built of."""
    parser = ConfigParser(merged_config(tuple(stage.config_files)).get())
    parser.update(dict(stage.overrides))
    return parser


def test_every_combination_is_a_run_and_seeds_come_one_after_the_other(folder):
    places = job_places(folder, range(2), "CD", ["unet", FULL])
    assert len(places) == len(set(places)) == 8
    assert [place.seed for place in places] == [0] * 4 + [1] * 4
    assert len({place.training for place in places} | {place.predictions for place in places}) == 16


@pytest.mark.parametrize("row", TRAINED)
def test_every_override_is_a_value_of_the_bundle(row, folder):
    """MONAI accepts an unknown id silently."""
    for stage in stages(folder, row):
        assert set(stage.overrides) - set(merged_config(tuple(stage.config_files)).get()) == set()
        assert stage.bundle == str(BUNDLES / "segmentation")


@pytest.mark.parametrize("row", [row for row in TRAINED if not ROWS[row].unseen])
def test_the_held_out_domain_is_left_out_and_then_scored(row, folder):
    training, evaluation = stages(folder, row, "B", seed=1)
    found = merged(training)
    assert (found["held_out"], found["seed"], found["label_seed"]) == ("B", 1, 1)
    assert found["label_fraction"] == 0.1
    assert [Path(root).name for root in found["dataset_dir"]] == list(DOMAINS)
    assert merged(evaluation)["dataset_dir"] == str(folder / "data1" / "B")
    assert merged(evaluation)["split"] == "test"
    assert merged(evaluation)["ckpt_path"] == found["ckpt_path"] == str(training.folder / "model.pt")


def test_the_bound_learns_from_all_labels_of_the_unseen_domain(folder):
    training, _ = stages(folder, "bound", "B")
    found = merged(training)
    assert (found["domains"], found["held_out"], found["label_fraction"]) == (["B"], None, 1.0)
    assert found["dataset_dir"] == [str(folder / "data0" / "B")]


def test_rows_differ_in_what_their_names_say(folder):
    full = stages(folder, FULL)[0].overrides
    differences = {
        row: {key for key, value in stages(folder, row)[0].overrides.items() if full.get(key) != value}
        for row in TRAINED
    }
    assert {row: found - {"ckpt_path"} for row, found in differences.items() if ROWS[row].ablation} == {
        "no_unlabelled": {"unlabelled_updates"},
        "no_meta_learning": {"meta_learning"},
        "no_teacher": {"teacher_epochs"},
        "no_average": {"average"},
        "second_order": {"second_order"},
        "no_disentanglement": {
            f"{name}_weight" for name in ("reconstruction", "regression", "prior", "domain", "rank")
        },
    }
    assert differences["segmentation"] - {"ckpt_path"} == {"looks"}
    assert stages(folder, "segmentation")[0].overrides["looks"] == "none"
    for row in ("unet", "unet_augmented", "bound"):
        training, evaluation = stages(folder, row)
        assert "unet.yaml" in training.configs
        assert merged(training)["anatomy_channels"] == merged(evaluation)["anatomy_channels"] != 8


def test_fingerprint_follows_data_and_settings(folder):
    def fingerprints(*arguments, **options) -> list[str]:
        return [
            stage.fingerprint(FileDigests(), ["trained"] * len(stage.needs))
            for stage in stages(folder, *arguments, **options)
        ]

    found = [*fingerprints("unet"), *fingerprints("synthetic")]
    assert [*fingerprints("unet"), *fingerprints("synthetic")] == found
    found += fingerprints("unet", seed=1) + fingerprints("unet", "C") + fingerprints(FULL)
    found += fingerprints("unet", smoke=True)
    (folder / "data0" / "D" / "dataset.json").write_text("other subjects")
    found += fingerprints("unet")
    assert len(set(found)) == len(found) == 14
    (folder / "data0" / RECORD).write_text("beside the data")
    assert fingerprints("unet") == found[-2:]


def test_evaluation_waits_for_its_own_training(folder):
    pairs = [cardiac_stages(place) for place in job_places(folder, range(2), "CD", tuple(ROWS))]
    keys = {stage.key for pair in pairs for stage in pair}
    assert len(keys) == 2 * 2 * 2 * len(ROWS)
    assert all(evaluation.needs == (training.key,) for training, evaluation in pairs)
