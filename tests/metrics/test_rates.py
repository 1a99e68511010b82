from __future__ import annotations

import pytest
import torch
from monai.metrics import compute_roc_auc

from shared_components.metrics.rates import area_under_curve, area_with_interval, wilson


def test_wilson_against_its_formula_and_limits():
    assert wilson(0.5, 100) == pytest.approx((0.5, 0.4038, 0.5962), abs=1e-4)
    assert wilson(0.0, 20).low == 0.0 and wilson(1.0, 20).high == 1.0
    narrow, wide = wilson(0.2, 1000), wilson(0.2, 10)
    assert wide.low < narrow.low < 0.2 < narrow.high < wide.high
    with pytest.raises(ValueError, match="at least one case"):
        wilson(0.0, 0)


def test_area_of_separate_equal_and_reversed_scores():
    low, high = torch.arange(5.0), torch.arange(10.0, 14.0)
    assert area_under_curve(high, low) == 1.0 and area_under_curve(low, high) == 0.0
    assert area_under_curve(low, low) == 0.5


def test_area_is_monais():
    torch.manual_seed(0)
    positive, negative = torch.randn(40) + 0.7, torch.randn(60)
    scores, truth = torch.cat([positive, negative]), torch.cat([torch.ones(40), torch.zeros(60)])
    assert area_under_curve(positive, negative) == pytest.approx(compute_roc_auc(scores, truth), abs=1e-6)


def test_interval_of_few_groups_is_wider_than_that_of_many():
    torch.manual_seed(0)
    of_group = torch.randn(4).repeat_interleave(25)  # scores of one group are alike
    positive, negative = of_group + 0.01 * torch.randn(100), torch.randn(100)
    alone, groups = torch.arange(100), torch.arange(4).repeat_interleave(25)
    single = area_with_interval(positive, negative, (alone, alone))
    grouped = area_with_interval(positive, negative, (groups, alone))
    assert single.value == grouped.value == pytest.approx(area_under_curve(positive, negative))
    assert grouped.high - grouped.low > 2 * (single.high - single.low)
    assert single.low < single.value < single.high
    assert area_with_interval(positive, negative, (alone, alone)) == single, "the same seed draws the same"


def test_interval_of_perfect_scores_is_a_point():
    scores = torch.arange(10.0)
    groups = torch.arange(10), torch.arange(10)
    assert area_with_interval(scores + 100, scores, groups) == (1.0, 1.0, 1.0)
