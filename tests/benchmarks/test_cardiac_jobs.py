from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from shared_components.benchmarks.bundle_steps import OVERRIDES
from shared_components.benchmarks.cardiac_jobs import BUNDLE, cardiac_job
from shared_components.benchmarks.cardiac_places import DOMAINS, Place, job_places
from shared_components.benchmarks.cardiac_rows import FULL, ROWS
from shared_components.benchmarks.processes import REPOSITORY, Step
from shared_components.data.phantoms.writer import RECORD

TRAINED = [row for row in ROWS if not ROWS[row].synthetic]  # by a run of the bundle alone


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed in range(2):
        (tmp_path / f"data{seed}").mkdir()
        (tmp_path / f"data{seed}" / RECORD).write_text(f'{{"seed": {seed}}}')
    return tmp_path


def steps(folder: Path, row: str, held_out: str = "D", seed: int = 0, **options) -> tuple[Step, ...]:
    return cardiac_job(Place(folder, seed, held_out, row), **options).steps


def merged(step: Step) -> ConfigParser:
    """What the step's process reads."""
    step.folder.mkdir(parents=True, exist_ok=True)
    for name, text in step.files:
        (step.folder / name).write_text(text)
    files = step.command[step.command.index("--config_file") + 1]
    listed = [str(REPOSITORY / file.strip("'")) for file in files.strip("[]").split(",")]
    return ConfigParser(ConfigParser.load_config_files(listed))


def values(step: Step) -> dict:
    return yaml.safe_load(dict(step.files)[OVERRIDES])


def test_every_combination_is_a_run_and_seeds_come_one_after_the_other(folder):
    places = job_places(folder, range(2), "CD", ["unet", FULL])
    assert len(places) == len(set(places)) == 8
    assert [place.seed for place in places] == [0] * 4 + [1] * 4
    assert len({place.training for place in places} | {place.predictions for place in places}) == 16


@pytest.mark.parametrize("row", TRAINED)
def test_every_override_is_a_value_of_the_bundle(row, folder):
    """MONAI accepts an unknown id silently."""
    for step in steps(folder, row):
        configs = [f"{BUNDLE}/configs/{name}" for name in ("common.yaml", "train.yaml", "inference.yaml")]
        known = ConfigParser(ConfigParser.load_config_files([str(REPOSITORY / file) for file in configs]))
        assert set(values(step)) - set(known.get()) == set()
        assert step.command[-4:] == ("--bundle_root", BUNDLE, "--logging_file", "False")


@pytest.mark.parametrize("row", [row for row in TRAINED if not ROWS[row].unseen])
def test_the_held_out_domain_is_left_out_and_then_scored(row, folder):
    training, evaluation = steps(folder, row, "B", seed=1)
    found = merged(training)
    assert (found["held_out"], found["seed"], found["label_seed"]) == ("B", 1, 1)
    assert found["label_fraction"] == 0.1
    assert [Path(root).name for root in found["dataset_dir"]] == list(DOMAINS)
    assert merged(evaluation)["dataset_dir"] == str(folder / "data1" / "B")
    assert merged(evaluation)["split"] == "test"
    assert merged(evaluation)["ckpt_path"] == found["ckpt_path"] == str(training.folder / "model.pt")


def test_the_bound_learns_from_all_labels_of_the_unseen_domain(folder):
    training, _ = steps(folder, "bound", "B")
    found = merged(training)
    assert (found["domains"], found["held_out"], found["label_fraction"]) == (["B"], None, 1.0)
    assert found["dataset_dir"] == [str(folder / "data0" / "B")]


def test_rows_differ_in_what_their_names_say(folder):
    full = values(steps(folder, FULL)[0])
    differences = {
        row: {key: value for key, value in values(steps(folder, row)[0]).items() if full.get(key) != value}
        for row in TRAINED
    }
    paths = {"ckpt_path", "output_dir"}
    assert {row: set(found) - paths for row, found in differences.items() if ROWS[row].ablation} == {
        "no_unlabelled": {"unlabelled_updates"},
        "no_meta_learning": {"meta_learning"},
        "no_teacher": {"teacher_epochs"},
        "no_average": {"average"},
        "second_order": {"second_order"},
        "no_disentanglement": {
            f"{name}_weight" for name in ("reconstruction", "regression", "prior", "domain", "rank")
        },
    }
    assert differences["segmentation"]["strong_augmentation"] is False
    for row in ("unet", "unet_augmented", "bound"):
        training, evaluation = steps(folder, row)
        assert "unet.yaml" in " ".join(training.command)
        assert merged(training)["anatomy_channels"] == merged(evaluation)["anatomy_channels"] != 8


def test_fingerprint_follows_data_and_settings_and_not_the_place(folder, tmp_path_factory):
    one = [step.fingerprint for step in steps(folder, "unet")]
    assert [step.fingerprint for step in steps(folder, "unet")] == one
    moved = tmp_path_factory.mktemp("moved")
    (moved / "data0").mkdir()
    (moved / "data0" / RECORD).write_text((folder / "data0" / RECORD).read_text())
    assert [step.fingerprint for step in steps(moved, "unet")] == one
    (moved / "data0" / RECORD).write_text("other subjects")
    others = [
        steps(moved, "unet"),
        steps(folder, "unet", seed=1),
        steps(folder, "unet", "C"),
        steps(folder, FULL),
        steps(folder, "unet", smoke=True),
    ]
    found = [step.fingerprint for other in others for step in other] + one
    assert len(set(found)) == len(found) == 12
