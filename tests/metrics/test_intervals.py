from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import compute_roc_auc

from shared_components.metrics.intervals import (
    Design,
    Interval,
    area_under_curve,
    area_with_interval,
    bootstrap,
    effective_count,
    paired_difference,
    wilson,
)
from shared_components.metrics.subject_scores import Subject


def experiment(random, seeds=6, subjects=8, clients=("a",), seed_sd=0.05, subject_sd=0.1, effect=0.0):
    """Differences with a part of each seed and a part of each subject of that seed."""
    own = random.normal(0, seed_sd, seeds)
    return {
        Subject(s, c, f"{n}"): effect + own[s] + random.normal(0, subject_sd)
        for s in range(seeds)
        for c in clients
        for n in range(subjects)
    }


def test_equal_methods_differ_by_nothing():
    values = {Subject(s, "a", c): 0.1 * s for s in range(3) for c in "xyz"}
    found = paired_difference(values, values)
    assert found == Interval(0, 0, 0, seeds=3, clients=1) and not found.excludes_zero


def test_nothing_is_claimed_of_two_seeds():
    sure = [Interval(0.2, 0.1, 0.3, seeds, 1) for seeds in (1, 2, 3)]
    assert [one.is_sure for one in sure] == [False, False, True] and all(one.excludes_zero for one in sure)
    assert not Interval(0.2, -0.1, 0.3, 5, 1).is_sure and Interval(-0.2, -0.3, -0.1, 5, 1).is_sure


def test_constant_difference_is_sure():
    reference = {Subject(s, "a", c): np.sin(s + n) for s in range(3) for n, c in enumerate("xyz")}
    better = {subject: value + 0.05 for subject, value in reference.items()}
    difference = paired_difference(better, reference)
    assert difference == pytest.approx((0.05, 0.05, 0.05, 3, 1)) and difference.excludes_zero
    assert paired_difference(reference, better).mean == pytest.approx(-0.05)


def test_only_subjects_of_both_count():
    reference = {Subject(0, "a", "x"): 0.5, Subject(0, "a", "y"): 0.5}
    values = {Subject(0, "a", "x"): 0.7, Subject(1, "a", "x"): 0.0, Subject(0, "b", "x"): 0.0}
    assert paired_difference(values, reference).mean == pytest.approx(0.2)
    assert paired_difference({Subject(9, "a", "x"): 1.0}, reference) is None


def test_clients_weigh_alike_however_many_subjects_they_have():
    values = {Subject(0, "a", str(n)): 1.0 for n in range(9)} | {Subject(0, "b", "x"): 0.0}
    assert bootstrap(values) == (0.5, 0.5, 0.5, 1, 2)
    drawn = bootstrap(values, Design(draw_clients=True))
    assert (drawn.low, drawn.high) == (0.0, 1.0)  # a quarter of the draws sees one client alone


def test_two_seeds_give_the_extremes_of_both():
    """A quarter of the draws is one seed twice, more than what the interval leaves out at each end."""
    values = {Subject(0, "a", "x"): -1.0, Subject(1, "a", "x"): 3.0}
    assert bootstrap(values)[:3] == (1.0, -1.0, 3.0)


def test_same_subjects_are_drawn_once_for_all_seeds():
    """Subjects that differ in the same way in every seed: seeds tell nothing new about them."""
    values = {Subject(s, "a", c): float(n) for s in range(50) for n, c in enumerate("xy")}
    crossed, nested = (bootstrap(values, Design(same_subjects=same)) for same in (True, False))
    assert (crossed.low, crossed.high) == (0.0, 1.0)
    assert 0.35 < nested.low < 0.5 < nested.high < 0.65


@pytest.mark.parametrize("design", [Design(), Design(same_subjects=True)])
def test_variants_of_a_subject_are_no_subjects_of_their_own(design):
    """Ten variants that say the same of each of three subjects: as sure as one variant, and no more."""
    once = {Subject(s, "a", c): float(n) for s in range(3) for n, c in enumerate("xyz")}
    often = {subject._replace(variant=v): value for subject, value in once.items() for v in "0123456789"}
    assert bootstrap(often, design) == bootstrap(once, design)
    assert bootstrap(once, design).high - bootstrap(once, design).low > 0.8


def test_width_is_that_of_the_normal_law():
    """One client, one subject a seed: the interval is that of a mean of as many independent values."""
    random = np.random.default_rng(1)
    values = {Subject(s, "a", "x"): v for s, v in enumerate(random.normal(0, 1, 200))}
    interval = bootstrap(values)
    expected = 1.96 * np.std(list(values.values())) / np.sqrt(200)
    assert interval.high - interval.mean == pytest.approx(expected, rel=0.06)
    assert interval.mean - interval.low == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(("seeds", "least", "most"), [(12, 0.84, 0.99), (3, 0.6, 0.95)])
def test_coverage_of_a_simulation(seeds, least, most):
    """The interval holds the true difference about as often as it says; of three seeds it is too narrow."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(150):
        values = experiment(random, seeds, clients=("a", "b"), effect=0.02)
        interval = bootstrap(values, draws=400, seed=int(random.integers(2**31)))
        hits += interval.low <= 0.02 <= interval.high
    assert least <= hits / 150 <= most


def test_same_values_same_interval():
    values = experiment(np.random.default_rng(2))
    assert bootstrap(values) == bootstrap(dict(values))
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_client_that_lacks_a_seed_takes_part_with_the_others():
    values = {Subject(s, "a", "x"): 0.0 for s in range(3)} | {Subject(0, "b", "x"): 1.0}
    interval = bootstrap(values)
    assert interval.mean == 0.5 and 0 <= interval.low <= interval.high <= 1


def test_area_is_that_of_all_pairs_and_needs_no_table_of_them():
    random = torch.Generator().manual_seed(0)
    positive, negative = (torch.randint(9, (number,), generator=random).float() for number in (40, 30))
    pairs = (positive[:, None] > negative).double() + (positive[:, None] == negative).double() / 2
    assert area_under_curve(positive, negative) == pytest.approx(pairs.mean().item())
    groups = torch.arange(40) // 8, torch.arange(30) // 10
    assert area_with_interval(positive, negative, groups).value == pytest.approx(pairs.mean().item())
    many = torch.rand(200_000, generator=random)
    assert 0.49 < area_under_curve(many, many.flip(0)) < 0.51


def test_cases_of_a_group_count_as_far_as_they_differ():
    groups = torch.arange(60) // 10
    alike, values = groups.double(), torch.rand(60, generator=torch.Generator().manual_seed(0))
    assert effective_count(alike, groups) == pytest.approx(6), "all of a group are one"
    assert 30 < effective_count(values, groups) <= 60, "those that are not alike count nearly all"
    assert effective_count(values, torch.arange(60)) == 60 and effective_count(values, 0 * groups) == 1
    assert effective_count(torch.ones(60), groups) == 60, "nothing tells of groups where all are the same"
    uneven = torch.cat([torch.zeros(1), torch.ones(9)])
    assert effective_count(uneven, uneven.long()) == pytest.approx(100 / 82), "sum of squares: 1 + 81"


def test_wilson_against_its_formula_and_limits():
    assert wilson(0.5, 100) == pytest.approx((0.5, 0.4038, 0.5962), abs=1e-4)
    assert all(wilson(0.0, n).low == 0.0 and wilson(1.0, n).high == 1.0 for n in range(1, 60))
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
