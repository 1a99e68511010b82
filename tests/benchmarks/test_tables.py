from __future__ import annotations

import math

import pytest

from shared_components.benchmarks.tables import markdown, mean, mean_and_deviation


def test_mean_leaves_out_what_is_no_number():
    assert mean(["1", "", "nan", "NaN", "2"]) == pytest.approx(1.5)
    assert math.isnan(mean(["nan"]))


def test_deviation_is_that_of_a_sample():
    assert mean_and_deviation([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert mean_and_deviation([1.0], 1) == "1.0 ± 0.0"
    assert mean_and_deviation([], 1) == "–"


def test_table_is_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n"
