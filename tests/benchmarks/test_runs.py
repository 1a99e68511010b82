from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.benchmarks.runs import (
    Runs,
    StudyStage,
    check_failures,
    shorter,
    shorter_generalisation,
    study_stage,
)
from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.study.stage import DONE, LOG
from shared_components.study.stages import done_stages, run_stages
from tests.study.test_stages import chain, stage
from tests.study.test_study import make_client


def test_finished_runs_are_kept_and_the_failed_ones_told_at_the_end(tmp_path):
    stages = [stage(tmp_path, "wrong", text="wrong"), *chain(tmp_path)]
    runs, ended = Runs(tmp_path), []
    with runs.alone():
        failures = runs.run(stages, ended=lambda stage: ended.append(stage.key))
    assert ended == ["north/first", "north/second"] == sorted(runs.done(stages))
    assert (tmp_path / "digests.json").is_file() and not (tmp_path / "wrong" / DONE).exists()
    with pytest.raises(InputError) as error:
        check_failures(failures)
    cause = f"expected another word, found wrong; change it (more in {tmp_path / 'wrong' / 'log.txt'})"
    told = "1 run failed; mend and run again, finished ones are kept:\n  north/wrong: text: "
    assert str(error.value) == told + cause
    check_failures([])
    with runs.alone():
        assert runs.run(stages[1:], ended=lambda stage: ended.append(stage.key)) == [] and len(ended) == 2


def test_folder_belongs_to_one_benchmark(tmp_path):
    with (
        Runs(tmp_path).alone(),
        pytest.raises(InputError, match="another process runs in this folder"),
        Runs(tmp_path).alone(),
    ):
        pass


def made(folder: Path) -> StudyStage:
    """The smallest study: one client, which has all labels."""
    root = folder / "data"
    if not root.is_dir():
        make_client(root, "t1", ("training", "validation", "test"), 0)
    values = {
        "name": "alone",
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"],
        "domains": ["t1"],
        "labels": {0: "background", 1: "brain"},
        "clients": {"north": {"data_root": str(root), "domain": "t1"}},
        "rounds": 1,
        "updates_per_round": 1,
        "workers": 0,
        "overrides": {"spacing": 2.0},
        "study": {
            "jobs": 1,
            "overrides": {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2},
            "pretrain": {"max_epochs": 1},
        },
    }
    return study_stage("seed0", values, folder / "seed0")


def test_study_runs_as_a_stage_and_goes_on_from_what_an_interruption_has_left(tmp_path):
    stage = made(tmp_path)
    fingerprint = stage.fingerprint(FileDigests())
    stage.prepare(fingerprint)
    left = stage.folder / "left.txt"
    left.write_text("by an interrupted run")
    seconds = run_stages([stage], jobs=1, quiet=True, fresh=True)
    assert left.is_file() and seconds["seed0/study"] > 0
    model = stage.folder / "clients" / "north" / "source_model" / "model.pt"
    assert model.is_file() and (stage.folder / "study.json").is_file()
    assert stage.progress() == "pictures and report"
    assert done_stages([stage]) == seconds
    left.unlink()
    (stage.folder / LOG).unlink()
    assert done_stages([stage]) == seconds
    model.write_bytes(b"damaged")
    assert done_stages([stage]) == {}
    stage.prepare("another study")
    assert not model.exists()


def test_fingerprint_follows_data_and_settings(tmp_path):
    stage = made(tmp_path)
    before = stage.fingerprint(FileDigests())
    assert made(tmp_path).fingerprint(FileDigests()) == before
    (tmp_path / "data" / "more.txt").write_text("")
    assert made(tmp_path).fingerprint(FileDigests()) != before
    assert "bundles/segmentation/configs" in " ".join(stage.reads)


def test_every_training_has_a_third_of_its_updates():
    values = {
        "rounds": 133,
        "updates_per_round": 6,
        "overrides": {"image_size": 64, "growth": {2: 100}, "fade": 33},
        "study": {
            "jobs": 2,
            "pretrain": {"max_epochs": 40, "looks": "mild"},
            "train": {"phases": [0, 600, 300]},
        },
    }
    found = shorter(values)
    assert (found["rounds"], found["updates_per_round"]) == (44, 6)
    assert found["overrides"] == {"image_size": 64, "growth": {2: 33}, "fade": 11}
    assert found["study"]["pretrain"] == {"max_epochs": 13, "looks": "mild"}
    assert found["study"]["train"]["phases"] == [0, 200, 100] and found["study"]["jobs"] == 2
    assert values["study"]["train"] == {"phases": [0, 600, 300]}  # what was given stays


def test_what_the_file_leaves_to_the_bundle_is_shorter_too():
    found = shorter({"rounds": 400, "updates_per_round": 6})
    assert found["overrides"] == {"growth": {2: 100}, "fade": 33}
    assert found["study"] == {
        "pretrain": {"max_epochs": 5},
        "train": {"phases": [0, 200, 100]},
        "self_training": {"phases": [0, 0, 300]},
    }


def test_expressions_are_left_alone():
    found = shorter({"rounds": 2, "study": {"train": {"phases": [0, "@half", 9], "max_epochs": "$2 * 3"}}})
    assert found["study"]["train"] == {"phases": [0, "@half", 3], "max_epochs": "$2 * 3"}


def test_sections_within_sections_and_federated_sources():
    study = {"candidates": {"mild": {"phases": [0, 0, 90], "rounds": 2}}, "federated_source": {"rounds": 16}}
    found = shorter({"rounds": 2, "study": study})["study"]
    assert found["candidates"] == {"mild": {"phases": [0, 0, 30], "rounds": 2}}  # teachers, not updates
    assert found["federated_source"] == {"rounds": 5}


def test_moments_of_the_segmentation_bundles_training_keep_their_shares():
    values = {"max_epochs": 20, "warm_up_epochs": 12, "teacher_epochs": [13, 17], "batch_size": 4}
    assert shorter_generalisation(values) == {
        "max_epochs": 7,
        "warm_up_epochs": 4,
        "teacher_epochs": [5, 6],  # at the end of the warm-up, as before
    }
