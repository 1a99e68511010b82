from __future__ import annotations

import math
from pathlib import Path

import pytest

from shared_components.metrics.score_files import write_scores
from shared_components.metrics.subject_scores import (
    Subject,
    SubjectScore,
    client_seed_means,
    paired_values,
    seed_means,
    subject_scores,
    subject_values,
    variant_means,
    write_subject_scores,
)
from shared_components.records import read_table

SCORES = [
    SubjectScore(0, "ucl", "ours", "a", "white", 0.8, 2.0),
    SubjectScore(0, "ucl", "ours", "a", "grey", 0.6, math.nan),
    SubjectScore(0, "ucl", "ours", "b", "white", 0.4, math.nan),
    SubjectScore(1, "ucl", "ours", "a", "white", 1.0, 1.0),
    SubjectScore(0, "nwu", "ours", "a", "white", 0.2, 7.0),
    SubjectScore(0, "ucl", "plain", "a", "white", 0.1, 9.0),
]


def test_subject_has_the_mean_of_its_classes():
    dice = subject_values(SCORES, "ours")
    assert dice == pytest.approx(
        {
            Subject(0, "ucl", "a"): 0.7,
            Subject(0, "ucl", "b"): 0.4,
            Subject(1, "ucl", "a"): 1.0,
            Subject(0, "nwu", "a"): 0.2,
        }
    )
    assert subject_values(SCORES, "ours", name="grey") == {Subject(0, "ucl", "a"): 0.6}


def test_distance_without_value_is_left_out():
    distances = subject_values(SCORES, "ours", "hd95_mm")
    assert distances == {Subject(0, "ucl", "a"): 2, Subject(1, "ucl", "a"): 1, Subject(0, "nwu", "a"): 7}


def test_two_methods_are_compared_by_the_classes_that_both_found():
    """Ours misses grey matter, which is the reference's far class; white matter alone says who is nearer."""
    scores = [
        SubjectScore(0, "ucl", "ours", "a", "white", 0.8, 3.0),
        SubjectScore(0, "ucl", "ours", "a", "grey", 0.0, math.nan),
        SubjectScore(0, "ucl", "plain", "a", "white", 0.8, 2.0),
        SubjectScore(0, "ucl", "plain", "a", "grey", 0.6, 10.0),
        SubjectScore(0, "ucl", "plain", "b", "grey", 0.6, 5.0),
    ]
    subject = Subject(0, "ucl", "a")
    assert paired_values(scores, ("ours", "plain"), "hd95_mm") == ({subject: 3.0}, {subject: 2.0})
    assert paired_values(scores, ("ours", "plain"), "hd95_mm", "grey") == ({}, {})
    assert paired_values(scores, ("ours", "plain")) == (
        {subject: pytest.approx(0.4)},
        {subject: pytest.approx(0.7)},
    )


def test_a_subject_has_the_mean_of_its_variants():
    values = {Subject(0, "a", "x", "one"): 0.2, Subject(0, "a", "x", "two"): 0.4, Subject(0, "a", "y"): 0.9}
    assert variant_means(values) == {Subject(0, "a", "x"): pytest.approx(0.3), Subject(0, "a", "y"): 0.9}
    assert client_seed_means(values) == {"a": {0: pytest.approx(0.6)}}


def test_means_over_subjects_then_clients():
    dice = subject_values(SCORES, "ours")
    assert client_seed_means(dice) == {"ucl": {0: pytest.approx(0.55), 1: 1.0}, "nwu": {0: 0.2}}
    assert seed_means(dice, ["ucl", "nwu"]) == {0: pytest.approx(0.375)}  # nwu has no seed 1
    assert seed_means(dice, ["ucl"]) == {0: pytest.approx(0.55), 1: 1.0}
    assert seed_means(dice, ["elsewhere"]) == {}


def read_subject_scores(path: Path) -> list[SubjectScore]:
    kinds: dict[str, type] = {"seed": int, "dice": float, "hd95_mm": float}
    rows = read_table(path, "")
    return [SubjectScore(**{key: kinds.get(key, str)(text) for key, text in row.items()}) for row in rows]


def test_scores_survive_their_file(tmp_path):
    rows = [
        {"case": "a", "label": 1, "name": "white", "dice": 0.25, "hd95_mm": math.nan, "hd_mm": math.nan}
        | {"predicted_ml": 1.0, "reference_ml": 2.0}
    ]
    found = subject_scores(write_scores(rows, tmp_path / "scores.csv"), 3, "ucl", "ours, for once")
    again = read_subject_scores(write_subject_scores(found, tmp_path / "all.csv"))
    assert again[0][:6] == found[0][:6] == (3, "ucl", "ours, for once", "a", "white", 0.25)
    assert math.isnan(again[0].hd95_mm)
    named = [score._replace(hd95_mm=1.0, variant="t1") for score in found]
    assert read_subject_scores(write_subject_scores(named, tmp_path / "all.csv")) == named
