from __future__ import annotations

import json
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("nvflare")

from nvflare.app_common.abstract.statistics_spec import DataType

from shared_components.errors import InputError
from shared_components.federation.nvflare import site_statistics
from shared_components.federation.nvflare.site_statistics import (
    DATA_SET,
    SiteStatistics,
    features_of,
    sites_from,
)
from shared_components.federation.statistics.published import published
from tests.federation.statistics.volumes import volume

LABELS = {0: "background", 1: "brain", 2: "lesion"}


def site(*volumes, minimum=3):
    return {"minimum": minimum, "domains": {"t1": published(volumes, LABELS, (0.5, 50.0, 99.5), minimum)}}


def volumes(number, seed, *arguments, **numbers):
    rng = np.random.default_rng(seed)
    return [
        volume(f"{seed}.{n}", *arguments, slices=int(rng.integers(3, 30)), **numbers) for n in range(number)
    ]


def filled(found) -> SiteStatistics:
    """As at a site that has looked at its volumes."""
    statistics = SiteStatistics(3, 2)
    statistics._numbers = dict(features_of(found))
    return statistics


def carried(sites) -> dict:
    """What NVFlare's controller writes of such sites, with its rounding."""
    result: dict = {}
    for client, found in sites.items():
        statistics = filled(found)
        for feature in statistics.features()[DATA_SET]:
            name = feature.feature_name
            assert feature.data_type == DataType.FLOAT
            count, total = statistics.count(DATA_SET, name), round(statistics.sum(DATA_SET, name), 12)
            values = {
                "count": count,
                "mean": round(total / count, 12),
                "stddev": round(statistics.stddev(DATA_SET, name), 12),
                "histogram": [list(each) for each in statistics.histogram(DATA_SET, name, 2, -1, 1).bins],
            }
            for statistic, value in values.items():
                result.setdefault(name, {}).setdefault(statistic, {})[client] = {DATA_SET: value}
    return json.loads(json.dumps(result))


def test_what_goes_wrong_stands_at_the_site_and_in_no_log(tmp_path, monkeypatch, caplog):
    def reading(kit, name):
        raise ValueError("Mustermann_Max_1970.nii.gz: no image")

    monkeypatch.setattr(site_statistics, "read_site", reading)
    workspace = Mock(**{"get_app_custom_dir.return_value": str(tmp_path / "job" / "app" / "custom")})
    workspace.get_root_dir.return_value = str(tmp_path)
    context = Mock(**{"get_engine.return_value.get_workspace.return_value": workspace})
    context.get_identity_name.return_value = "north"
    statistics = SiteStatistics(3, 2)
    statistics.initialize(context)
    (name,) = (feature.feature_name for feature in statistics.features()[DATA_SET])
    assert "the cause stands in error.txt at its site" in name and "Mustermann" not in name + caplog.text
    assert "Mustermann_Max" in (tmp_path / "job" / "error.txt").read_text()


def test_what_a_site_publishes_arrives_as_it_left():
    odd = [volume("x", shares=np.array([0.5, 0.5]), slices=99)]
    sites = {
        "north": site(*volumes(4, 0), *volumes(5, 1, "labelled", "test"), *volumes(2, 2, "labelled")),
        "south": site(*volumes(3, 3, shares=np.array([1.0, 0.0])), *odd),
        "west": site(*volumes(2, 4)),
        "east": site(*volumes(4, 5), minimum=5),
        "ill": {"failure": "it failed"},
    }
    assert sites_from(carried(sites), bins=2) == sites


def test_withheld_cells_and_bins_are_not_sent():
    found = site(*volumes(4, 0), *volumes(2, 1, "labelled"), volume("x", "labelled", "test"))
    statistics = filled(found)
    (cells,) = [f.feature_name for f in statistics.features()[DATA_SET] if "cells" in f.feature_name]
    bins = statistics.histogram(DATA_SET, cells, 2, -1, 1).bins
    assert {int(each.low_value) for each in bins} == {1, 2, 3, 4, 5, 7, 8}  # not 0 and 6, the labelled ones
    assert sum(each.sample_count for each in bins) == 4


def test_features_that_a_filter_of_the_site_dropped_are_withheld():
    result = carried({"north": site(*volumes(4, 0))})
    for statistics in result.values():  # NVFlare's filter leaves the counts
        for name in ("mean", "stddev", "histogram"):
            del statistics[name]["north"]
    found = sites_from(result, bins=2)["north"]
    assert found["minimum"] == 3 and found["domains"]["t1"]["measures"] == {}
    assert set(found["domains"]["t1"]["cells"]["training"].values()) == {None}


def test_variance_about_another_mean_by_hand():
    statistics = filled(site(*(volume(p, slices=n) for p, n in (("a", 2), ("b", 4), ("c", 9)))))
    name = json.dumps(["measure", "t1", "slices"])
    # (2 − 4)² + (4 − 4)² + (9 − 4)² over 6 − 1
    assert statistics.variance_with_mean(DATA_SET, name, 4, 6) == pytest.approx(29 / 5, rel=1e-3)


def test_statistics_of_another_program_are_refused():
    with pytest.raises(InputError, match="expected those of this program"):
        sites_from({"Age": {"count": {"site-1": {"train": 3}}}}, bins=2)
