"""Domain generalisation: every row, held-out domain and seed, in processes of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.benchmarks.comparison_files import write_comparison
from shared_components.benchmarks.named import chosen
from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.benchmarks.unseen_places import Place, UnseenBench
from shared_components.benchmarks.unseen_rows import FULL, ROWS
from shared_components.benchmarks.unseen_stages import unseen_stages
from shared_components.benchmarks.unseen_table import Result, comparison, read_result, unseen_tables
from shared_components.errors import InputError
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
        reference: the method that the others are compared with, as the tables call it; by default the full one.
    Returns:
        The tables.
    Raises:
        InputError: an unknown domain, row or reference; nothing is finished; some runs failed.
    """
    bench = UnseenBench(scenario, Path(output_dir), fast, smoke)
    domains = chosen(held_out, bench.scenario.domains, "held_out")
    keys = chosen(rows, bench.rows, "rows")
    reference = _reference(reference)
    runs, failures = Runs(bench.folder), []
    if not report_only:
        with runs.alone():
            for seed in range(seeds):
                bench.scenario.make(bench.data(seed), seed, smoke)
            failures = _run(runs, bench, bench.places(range(seeds), domains, keys), jobs, reference)
    table = _report(bench, _results(runs, bench.found()), reference)
    if failures:
        print(table or "")
    check_failures(failures)
    if table is None:
        raise InputError(
            f"{bench.folder}: holds no finished run of the configs as they are; run without --report-only"
        )
    return table


def _reference(name: str | None) -> str:
    known = [row.name for row in ROWS.values()]
    if name is not None and name not in known:
        raise InputError(f"reference: expected one of {'; '.join(known)}, found {name!r}")
    return name or ROWS[FULL].name


def _run(
    runs: Runs, bench: UnseenBench, places: Sequence[Place], jobs: int, reference: str
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


def _results(runs: Runs, places: Sequence[Place]) -> dict[Place, Result]:
    """Results of those that are finished, with today's configs."""
    stages = {place: unseen_stages(place) for place in places}
    seconds = runs.done([stage for pair in stages.values() for stage in pair])
    return {
        place: read_result(place, seconds[training.key])
        for place, (training, evaluation) in stages.items()
        if evaluation.key in seconds
    }


def _report(
    bench: UnseenBench, results: Mapping[Place, Result], reference: str = ROWS[FULL].name
) -> str | None:
    """Write the table; None when there is no result."""
    if not results:
        return None
    found = list(results.values())
    table = unseen_tables(bench, found, reference)
    write_comparison(bench.folder, table, comparison(bench, found, reference=reference))
    return table
