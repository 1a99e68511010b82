"""A site's statistics as NVFlare's statistics workflow asks for them: features with a count, a mean and a histogram.

The workflow knows tables of numbers. What a site publishes travels in it as features of one data set, named by a JSON
list: the minimum that was applied, and of each domain the cells, the measures and the intensities. A withheld measure
is no feature, a withheld cell or bin is missing from its histogram, so that nothing of them leaves the site.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.statistics_spec import (
    Bin,
    DataType,
    Feature,
    Histogram,
    HistogramType,
    Statistics,
)

from shared_components.data.dataset_json import SPLITS
from shared_components.errors import InputError
from shared_components.federation.lane import DIED, LIMIT, Ended, Lane
from shared_components.federation.nvflare.job_file import read_job
from shared_components.federation.nvflare.places import read_site
from shared_components.federation.sent_record import SentRecord
from shared_components.federation.sites import ERROR_FILE, note_failure
from shared_components.federation.statistics.published import STATES, rounded
from shared_components.federation.statistics.site import asked, site_statistics

DATA_SET = "images"
GLOBAL = "Global"  # NVFlare's name of all clients together
CELLS = [(split, state) for split in SPLITS for state in STATES]
MINIMUM, FAILURE, CELL, MEASURE, INTENSITY = "minimum", "failure", "cells", "measure", "intensity"


class Numbers(NamedTuple):
    """What the workflow carries of a feature: ``bins`` by number, without those that are withheld."""

    count: int  # type: ignore[assignment]  # hides that of tuples
    mean: float = 0.0
    sd: float = 0.0
    bins: Mapping[int, float] = {}


class SiteStatistics(Statistics):
    """Fills NVFlare's workflow with :func:`site_statistics`; made at the site, from numbers alone.

    Args:
        minimum: patients that a number must stand for; a site's own may be larger.
        bins: of the histogram of scaled intensities.
        timeout: seconds that looking at all volumes may take; None: as long as it needs.
    """

    def __init__(self, minimum: int, bins: int, timeout: float | None = None) -> None:
        super().__init__()
        self.minimum, self.bins, self.timeout = minimum, bins, timeout
        self._numbers: dict[str, Numbers] = {}

    def initialize(self, fl_ctx: FLContext) -> None:
        """Look at every volume, in a process that may die of it; what goes wrong is told as a feature."""
        workspace = fl_ctx.get_engine().get_workspace()
        custom = Path(workspace.get_app_custom_dir(fl_ctx.get_job_id()))
        name = fl_ctx.get_identity_name()
        folder = custom.parents[1]  # of the job, until the site's own is known
        try:
            place = read_site(Path(workspace.get_root_dir()), name)
            federation = read_job(custom, place)
            folder = Path(federation.output_dir) / "clients" / name
            wanted = asked(federation, self.minimum, self.bins)
            arguments = (federation.clients[name].data_roots, wanted, place.minimum)
            with Lane(federation.threads_per_worker, died=DIED, limit=LIMIT) as lane:
                found = lane.submit(site_statistics, *arguments, timeout=self.timeout).result()
            SentRecord(folder).enter(
                job=fl_ctx.get_job_id(),
                task="statistics",
                bytes=len(json.dumps(found)),
                values=", ".join(found),
            )
        except Ended as error:
            found = {"failure": str(error)}
        except Exception as error:  # of any kind: what NVFlare logs of it may be sent to the server
            note_failure(folder, error)
            found = {"failure": f"its statistics failed; the cause stands in {ERROR_FILE} at its site"}
        self._numbers = dict(features_of(found))

    def features(self) -> dict[str, list[Feature]]:
        return {DATA_SET: [Feature(name, DataType.FLOAT) for name in self._numbers]}

    def count(self, dataset_name: str, feature_name: str) -> int:
        return self._numbers[feature_name].count

    def sum(self, dataset_name: str, feature_name: str) -> float:
        numbers = self._numbers[feature_name]
        return numbers.mean * numbers.count

    def stddev(self, dataset_name: str, feature_name: str) -> float:
        return self._numbers[feature_name].sd

    def variance_with_mean(
        self, dataset_name: str, feature_name: str, global_mean: float, global_count: float
    ) -> float:
        n, mean, sd, _ = self._numbers[feature_name]
        return ((n - 1) * sd**2 + n * (mean - global_mean) ** 2) / max(1, global_count - 1)

    def histogram(
        self,
        dataset_name: str,
        feature_name: str,
        num_of_bins: int,
        global_min_value: float,
        global_max_value: float,
    ) -> Histogram:
        bins = [Bin(number, number + 1, value) for number, value in self._numbers[feature_name].bins.items()]
        return Histogram(HistogramType.STANDARD, bins)


def features_of(site: Mapping[str, Any]) -> Iterator[tuple[str, Numbers]]:
    """Feature name to what is told of it, of what :func:`site_statistics` returned or of a failure."""
    if "failure" in site:
        yield json.dumps([FAILURE, site["failure"]]), Numbers(1)  # NVFlare's filter never drops a count
        return
    minimum = site["minimum"]  # stands for a count where there is none, for NVFlare's filter to let it pass
    yield json.dumps([MINIMUM]), Numbers(minimum)
    for domain, found in site["domains"].items():
        cells = [found["cells"][split][state] for split, state in CELLS]
        yield json.dumps([CELL, domain]), Numbers(minimum, bins=_told(cells))
        for name, summary in found["measures"].items():
            yield json.dumps([MEASURE, domain, name]), Numbers(summary["n"], summary["mean"], summary["sd"])
        if "intensity" in found:
            n, shares = found["intensity"]["n"], found["intensity"]["shares"]
            yield json.dumps([INTENSITY, domain]), Numbers(n, bins=_told(shares))


def _told(values: list[float | None]) -> dict[int, float]:
    return {number: value for number, value in enumerate(values) if value is not None}


def sites_from(result: Mapping[str, Any], bins: int) -> dict[str, dict[str, Any]]:
    """Client to what :func:`site_statistics` returned there, from what NVFlare's workflow wrote.

    Args:
        result: feature -> statistic -> client -> data set -> value.
        bins: of the histogram of scaled intensities.
    Raises:
        InputError: it is not of this workflow.
    """
    sites: dict[str, dict[str, Any]] = {}
    try:
        for feature, statistics in result.items():
            kind, *names = json.loads(feature)
            for client in statistics["count"]:
                if client == GLOBAL:
                    continue
                if kind == FAILURE:
                    sites[client] = {"failure": names[0]}
                elif kind == MINIMUM:
                    sites[client] = {"minimum": statistics["count"][client][DATA_SET], "domains": {}}
                else:
                    _add(sites[client], kind, names, _numbers(statistics, client), bins)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise InputError(
            f"the statistics of NVFlare: expected those of this program, found {error!r}"
        ) from error
    return sites


def _numbers(statistics: Mapping[str, Any], client: str) -> Numbers | None:
    """What has come of a feature; None where a filter of the site's own has dropped all but the count."""
    if any(client not in statistics.get(name, {}) for name in ("mean", "stddev", "histogram")):
        return None
    count, mean, sd, bins = (
        statistics[name][client][DATA_SET] for name in ("count", "mean", "stddev", "histogram")
    )
    return Numbers(int(count), rounded(mean), rounded(sd), {round(low): value for low, _, value in bins})


def _add(site: dict[str, Any], kind: str, names: list[str], numbers: Numbers | None, bins: int) -> None:
    domain = site["domains"].setdefault(names[0], {"measures": {}})
    if kind == CELL:
        told = {} if numbers is None else numbers.bins
        domain["cells"] = {split: {} for split in SPLITS}
        for number, (split, state) in enumerate(CELLS):
            domain["cells"][split][state] = int(told[number]) if number in told else None
    elif numbers is not None and kind == MEASURE:
        domain["measures"][names[1]] = {"n": numbers.count, "mean": numbers.mean, "sd": numbers.sd}
    elif numbers is not None and kind == INTENSITY:
        domain["intensity"] = {"n": numbers.count, "shares": [numbers.bins.get(n) for n in range(bins)]}
