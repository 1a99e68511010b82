"""The job of a federation's statistics: NVFlare's controller, executor, filter and writer, and our numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvflare import FilterType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.signal import Signal
from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.executors.statistics.statistics_executor import StatisticsExecutor
from nvflare.app_common.filters.statistics_privacy_filter import StatisticsPrivacyFilter
from nvflare.app_common.statistics.json_stats_file_persistor import JsonStatsFileWriter
from nvflare.app_common.statistics.min_count_cleanser import MinCountCleanser
from nvflare.app_common.workflows.statistics_controller import StatisticsController
from nvflare.job_config.api import FedJob

from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.job import JobKind, finished_job
from shared_components.federation.nvflare.outcome import RESULT, write_outcome
from shared_components.federation.nvflare.places import plain_name
from shared_components.federation.nvflare.site_statistics import SiteStatistics
from shared_components.federation.statistics.site import Asked

STATISTICS = f"{RESULT}/statistics.json"  # in the job's folder at the server
DIGITS = 12  # behind the point; those that are told are chosen at the site
WRITER, NUMBERS, CLEANSER = "writer", "numbers", "min_count"


class FederationStatistics(StatisticsController):
    """NVFlare's controller, which leaves a note when it has ended.

    Args:
        bins: of the histograms.
    """

    def __init__(self, bins: int) -> None:
        histogram = {"*": {"bins": bins, "range": [-1, 1]}}
        asked = {"count": {}, "sum": {}, "mean": {}, "stddev": {}, "histogram": histogram}
        super().__init__(asked, WRITER, precision=DIGITS, enable_pre_run_task=False)
        self.bins = bins

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Called by NVFlare, in the server's job process."""
        super().control_flow(abort_signal, fl_ctx)
        workspace = fl_ctx.get_engine().get_workspace()
        run = Path(workspace.get_run_dir(fl_ctx.get_job_id()))
        failure = None if (run / STATISTICS).is_file() else "no statistics were written"
        write_outcome(run, failure)


@dataclass(frozen=True)
class StatisticsKind(JobKind):
    """A job that asks for statistics alone, and keeps nothing at the server.

    Attributes:
        asked: for what.
        timeout: seconds that each site may look at its volumes; None: as long as it needs.
    """

    asked: Asked | None = None
    timeout: float | None = None

    def write(self, federation: Federation, folder: Path, *how: bool) -> Path:
        return write_statistics_job(federation, self.asked, folder, self.timeout)

    def is_done(self, folder: Path) -> bool:
        return False


def write_statistics_job(
    federation: Federation, asked: Asked, folder: Path, timeout: float | None = None
) -> Path:
    """Write the job's folder; see :func:`write_job`.

    NVFlare's filter for small counts stands at every site behind our own rule: it drops a whole feature, and leaves
    its count, while ours withholds cells and what would give them away. Its two others are not used: one adds noise
    to smallest and largest values, of which none are told, and one forbids histograms with many bins for few rows,
    where a bin of ours is judged by the patients in it.
    """
    job = FedJob(name=f"{plain_name(federation.name)}-statistics", min_clients=len(federation.clients))
    job.set_app_packages(["shared_components"])
    job.to_server(FederationStatistics(asked.reading.bins))
    job.to_server(JsonStatsFileWriter(output_path=STATISTICS), id=WRITER)
    numbers = job.to_clients(SiteStatistics(asked.minimum, asked.reading.bins, timeout), id=NUMBERS)
    executor = StatisticsExecutor(numbers, precision=DIGITS)
    job.to_clients(executor, tasks=[StatisticsConstants.FED_STATS_TASK])
    cleanser = job.to_clients(MinCountCleanser(asked.minimum), id=CLEANSER)
    filter_ = StatisticsPrivacyFilter([cleanser])
    job.to_clients(filter_, filter_type=FilterType.TASK_RESULT, tasks=[StatisticsConstants.FED_STATS_TASK])
    return finished_job(job, federation, folder)
