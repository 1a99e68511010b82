"""Which volumes a scenario has, how they are stored, and what a user may write for their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from shared_components.data.phantoms.cases import Case, PhantomRoot, subject_counts
from shared_components.errors import InputError

DEFAULTS = {"a": (20, 4, 6), "b": (10, 2, 3)}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, DEFAULTS),
        (8, {"a": (8, 1, 2), "b": (8, 1, 2)}),
        (1, {"a": (1, 1, 1), "b": (1, 1, 1)}),
        ((3, 0, 1), {"a": (3, 0, 1), "b": (3, 0, 1)}),
        ({"b": [5, 1, 2]}, {"a": (20, 4, 6), "b": (5, 1, 2)}),
    ],
)
def test_subject_counts(written, expected):
    assert subject_counts(written, DEFAULTS) == expected


@pytest.mark.parametrize("written", [(1, 2), -1, "many", 2.5, True, (1, 2, "x")])
def test_subject_counts_refuses_other_values(written):
    with pytest.raises(InputError, match="one number or training,validation,test"):
        subject_counts(written, DEFAULTS)


def test_subject_counts_refuses_an_unknown_domain():
    with pytest.raises(InputError, match="unknown domain 'c'; this scenario has a, b"):
        subject_counts({"c": 3}, DEFAULTS)


def test_cases_vary_in_storage():
    cases = PhantomRoot("a", "MRI", (5, 2, 3), ("test",)).cases("scenario", 0, 1.0)
    assert {case.codes for case in cases} == {"RAS", "LPS"}
    assert [case.name for case in cases if case.oblique] == ["a_training_002", "a_test_002"]
    assert [case.name for case in cases if case.suffix == ".nii"] == ["a_training_005"]
    assert {case.split for case in cases if case.labelled} == {"test"}
    assert len({case.name for case in cases}) == 10


def test_generators_differ_between_cases_and_repeat_for_one():
    case = Case("scenario", "a", "training", 0, seed=0)
    others = [
        Case("scenario", "a", "training", 1, seed=0),
        Case("scenario", "a", "test", 0, seed=0),
        Case("scenario", "b", "training", 0, seed=0),
        Case("scenario", "a", "training", 0, seed=1),
    ]
    first = case.generator("anatomy").normal(size=4)
    assert np.array_equal(first, case.generator("anatomy").normal(size=4))
    assert not np.allclose(first, case.generator("look").normal(size=4))
    for other in others:
        assert not np.allclose(first, other.generator("anatomy").normal(size=4))
