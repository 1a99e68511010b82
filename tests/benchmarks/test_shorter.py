from __future__ import annotations

from shared_components.benchmarks.shorter import shorter, shorter_generalisation


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
        "self_training": {"phases": [0, 0, 100]},
    }


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
