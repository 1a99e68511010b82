from __future__ import annotations

import numpy as np
import pytest

from shared_components.federation.statistics.merged import Count, merged
from shared_components.federation.statistics.published import published
from tests.federation.statistics.volumes import volume

LABELS = {0: "background", 1: "brain", 2: "lesion"}


def site(volumes, domain="t1", minimum=3):
    return {"minimum": minimum, "domains": {domain: published(volumes, LABELS, (0.5, 50.0, 99.5), minimum)}}


def volumes(number: int, seed: int, **numbers):
    rng = np.random.default_rng(seed)
    return [volume(f"p{n}", slices=int(rng.integers(3, 30)), **numbers) for n in range(number)]


def test_all_sites_together_are_as_one_site_with_all_volumes():
    north, south = volumes(5, 0), volumes(7, 1, shares=np.array([0.2, 0.8]))
    *_, together = merged({"north": site(north), "south": site(south)})
    direct = np.asarray([v.slices for v in north + south], float)
    slices = together.measures["slices"]
    assert slices.n == 12
    np.testing.assert_allclose((slices.mean, slices.sd), (direct.mean(), direct.std(ddof=1)), rtol=2e-3)
    assert list(together.shares) == [0.325, 0.675]  # (5 · 0.5 + 7 · 0.2) / 12
    assert together.count("training", "unlabelled") == Count(12) and together.volumes == 12


def test_the_total_tells_nothing_of_what_a_site_withholds():
    one, two = (merged({"north": site(volumes(5, 0)), "south": site(volumes(n, 1))})[-1] for n in (1, 2))
    assert one == two
    assert str(one.count("training", "unlabelled")) == "≥ 5"


def test_counts_as_texts():
    assert [str(count) for count in (Count(), Count(4), Count(0, 2), Count(4, 2))] == ["0", "4", "< 3", "≥ 4"]


def test_a_site_with_a_larger_minimum_of_its_own():
    lines = merged({"north": site(volumes(4, 0), minimum=5), "south": site(volumes(4, 0))})
    assert [str(line.count("training", "unlabelled")) for line in lines] == ["< 5", "4", "≥ 4"]


def test_lines_are_in_order_and_failures_are_named():
    lines = merged({"south": site(volumes(3, 0), "t2"), "north": {"failure": "no images"}})
    assert [(line.client, line.domain, line.failure) for line in lines] == [
        ("north", "", "no images"),
        ("south", "t2", None),
        ("all", "", None),
    ]
    assert [line.client for line in merged({"north": {"failure": "no images"}})] == ["north"]


def test_bins_that_no_site_tells_of_stay_withheld():
    odd = [volume("a", shares=np.array([0.5, 0.5])), *volumes(3, 0, shares=np.array([1.0, 0.0]))]
    *_, together = merged({"north": site(odd), "south": site(odd)})
    assert together.shares == [1.0, None]


@pytest.mark.parametrize(
    "wrong", [{"n": 0, "mean": 1.0, "sd": 0.0}, {"n": 3, "mean": 1e308, "sd": 1.0}, {"n": 3, "mean": 1.0, "sd": 1e308}]
)  # fmt: skip
@pytest.mark.parametrize("others", [{}, {"north": site(volumes(3, 0))}])
def test_a_site_of_whose_numbers_no_sum_can_be_made_has_failed(wrong, others):
    south = site(volumes(3, 1))
    south["domains"]["t1"]["measures"]["slices"] = wrong
    lines = merged({**others, "south": south})
    (failed,) = (line for line in lines if line.client == "south")
    assert failed.failure.startswith("slices: expected numbers of volumes, found {'mean': ")
    assert lines[-1].client == ("all" if others else "south")
    south["domains"]["t1"]["measures"].pop("slices")
    south["domains"]["t1"]["intensity"]["n"] = 0
    assert merged({"south": south})[0].failure.startswith("intensity: expected numbers of volumes")
