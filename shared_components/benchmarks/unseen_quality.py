"""Domain generalisation: every row, held-out domain and seed, in processes of their own, and the tables of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.comparison import (
    Comparison,
    comparison_tables,
    legend,
    score_table,
    write_comparison,
)
from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.benchmarks.tables import (
    check_reference,
    machine,
    markdown,
    mean_and_deviation,
    read_table,
)
from shared_components.benchmarks.unseen_rows import FULL, ROWS, UnseenBench, UnseenRun
from shared_components.benchmarks.unseen_stages import unseen_stages
from shared_components.command_line import chosen
from shared_components.errors import InputError, counted
from shared_components.metrics.subject_scores import SubjectScore, subject_scores
from shared_components.study.stage import Stage


def unseen_quality(
    scenario: str,
    seeds: int,
    output_dir: str | Path,
    report_only: bool = False,
    held_out: str | Sequence[str] | None = None,
    rows: str | Sequence[str] | None = None,
    jobs: int = 2,
    fast: bool = False,
    smoke: bool = False,
    reference: str | None = None,
) -> str:
    """Train and score, then tabulate all that is finished in the folder, also by earlier calls.

    Finished runs are kept unless the configs have changed. The tables, ``quality.md``, and what lies beside
    them (see :func:`write_comparison`) are written after every run.

    Args:
        scenario: key of ``SCENARIOS``.
        seeds: how many, from 0 on.
        output_dir: see :attr:`UnseenBench.folder`.
        report_only: run nothing.
        held_out: domains to leave out in turn; all by default.
        rows: keys of ``ROWS``; all that the scenario has by default.
        jobs: runs at a time.
        fast: a third of the updates of everything.
        smoke: the smallest sizes.
        reference: the method that the others are compared with, as the tables call it; by default meta-learning
            with strong looks, or of rows without it the first; where that has no result, the first that has one.
    Returns:
        The tables.
    Raises:
        InputError: an unknown domain, row or reference; nothing is finished, or nothing of the reference; some runs
            failed.
    """
    bench = UnseenBench(scenario, Path(output_dir), fast, smoke)
    domains = chosen(held_out, bench.scenario.domains, "held_out")
    keys = chosen(rows, bench.rows, "rows")
    check_reference(reference, [row.name for row in ROWS.values()])
    wanted = reference or ROWS[FULL if FULL in keys else keys[0]].name
    runs, failures = Runs(bench.folder), []
    if not report_only:
        with runs.alone():
            for seed in range(seeds):
                bench.scenario.make(bench.data(seed), seed, smoke)
            failures = _run(runs, bench, bench.places(range(seeds), domains, keys), jobs, wanted)
    results = _results(runs, bench.found())
    if report_only and results:
        check_reference(reference, _methods(results.values()))
    table = _report(bench, results, wanted)
    if failures:
        print(table or "")
    check_failures(failures)
    if table is None:
        raise InputError(
            f"{bench.folder}: holds no finished run of the configs as they are; run without --report-only"
        )
    return table


def _methods(results: Collection[Result]) -> list[str]:
    """Names of the rows that have a result, in the table's order."""
    found = {result.row for result in results}
    return [ROWS[row].name for row in ROWS if row in found]


def _run(
    runs: Runs, bench: UnseenBench, places: Sequence[UnseenRun], jobs: int, reference: str
) -> list[InputError]:
    """Run what is not finished; the table is written after each."""
    results = _results(runs, bench.found())
    evaluated = {unseen_stages(place)[1].key: place for place in places}
    finished = sum(place in results for place in places)
    print(f"{len(places)} runs, {finished} of them finished already; logs in {bench.folder}", flush=True)

    def report(stage: Stage) -> None:
        if stage.key in evaluated:
            results.update(_results(runs, [evaluated[stage.key]]))
            _report(bench, results, reference)

    return runs.run([stage for place in places for stage in unseen_stages(place)], jobs, report)


def _results(runs: Runs, places: Sequence[UnseenRun]) -> dict[UnseenRun, Result]:
    """Results of those that are finished, with today's configs."""
    stages = {place: unseen_stages(place) for place in places}
    seconds = runs.done([stage for pair in stages.values() for stage in pair])
    return {
        place: read_result(place, seconds[training.key])
        for place, (training, evaluation) in stages.items()
        if evaluation.key in seconds
    }


def _report(
    bench: UnseenBench, results: Mapping[UnseenRun, Result], reference: str = ROWS[FULL].name
) -> str | None:
    """Write the table; None when there is no result. Where the reference has none yet, the first method stands in."""
    if not results:
        return None
    found = list(results.values())
    methods = _methods(found)
    reference = next(name for name in (reference, ROWS[FULL].name, *methods) if name in methods)
    table = unseen_tables(bench, found, reference)
    write_comparison(bench.folder, table, comparison(bench, found, reference=reference))
    return table


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        scores: of the held-out domain's test subjects and classes; that domain is the client.
        seconds: wall time of the training.
        iterations: of the training; one of ours holds an update with and one without labels.
    """

    row: str
    scores: tuple[SubjectScore, ...]
    seconds: float
    iterations: int

    @property
    def missed(self) -> float:
        """Share of subjects' classes that were not found, or were found where there is none."""
        return statistics.fmean(not math.isfinite(score.hd95_mm) for score in self.scores)


def read_result(place: UnseenRun, seconds: float) -> Result:
    """The result of a finished run, whose training took ``seconds``."""
    name = ROWS[place.row].name
    scores = subject_scores(place.predictions / "scores.csv", place.seed, place.held_out, name)
    iterations = int(read_table(place.trained / "metrics.csv")[-1]["update"])
    return Result(place.row, tuple(scores), seconds, iterations)


def comparison(
    bench: UnseenBench,
    results: Sequence[Result],
    rows: Sequence[str] = tuple(ROWS),
    reference: str = ROWS[FULL].name,
) -> Comparison:
    """Those of ``rows`` that have a result, compared with one of them, by default the full method."""
    scores = [score for result in results for score in result.scores]
    found = {result.row for result in results}
    methods = [ROWS[row].name for row in rows if row in found]
    clients = {score.client for score in scores}
    domains = [domain for domain in bench.scenario.domains if domain in clients]
    return Comparison(scores, methods, domains, reference, bench.scenario.design)


def unseen_tables(bench: UnseenBench, results: Sequence[Result], reference: str = ROWS[FULL].name) -> str:
    """Markdown: Dice, HD95, classes, the ablation and the trainings' times."""
    rows = [row for row in ROWS if not ROWS[row].ablation]
    methods = comparison(bench, results, rows, reference)
    ablations = comparison(bench, results, [row for row in ROWS if ROWS[row].ablation or row == FULL])
    length = " A third of the updates." if bench.fast else ""
    parts = [
        f"{bench.scenario.words}{length} "
        "Meta-learning on real images is of first order (second_order: false), but where a row says otherwise. "
        f"Mean ± sd over {counted(methods.seeds, 'seed')}.\n",
        legend(reference),
    ]
    if methods.methods:
        parts += comparison_tables(methods, "Dice, mean over the domains")
    if any(ROWS[result.row].ablation for result in results):
        parts.append(score_table(ablations, "Ablation: Dice"))
    return "\n".join([*parts, _costs(results), machine(), ""])


def _costs(results: Sequence[Result]) -> str:
    """Per row: classes that were not found, time and iterations of a training."""
    lines = []
    for row in ROWS:
        own = [result for result in results if result.row == row]
        if own:
            lines.append(
                [
                    ROWS[row].name,
                    f"{statistics.fmean(result.missed for result in own):.1%}",
                    mean_and_deviation([result.seconds for result in own], 0),
                    "/".join(str(number) for number in sorted({result.iterations for result in own})),
                    str(len(own)),
                ]
            )
    head = ["Training", "classes not found (left out of HD95)", "wall s", "iterations", "runs"]
    return markdown(head, lines)
