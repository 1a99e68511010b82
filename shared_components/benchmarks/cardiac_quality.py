"""Domain generalisation on cardiac phantoms: every row, held-out domain and seed, in processes of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.benchmarks.cardiac_places import DOMAINS, Place, job_places
from shared_components.benchmarks.cardiac_rows import ROWS
from shared_components.benchmarks.cardiac_stages import cardiac_stages
from shared_components.benchmarks.cardiac_table import Result, cardiac_tables, comparison, read_result
from shared_components.benchmarks.comparison_files import write_comparison
from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.data.phantoms import make_cardiac
from shared_components.errors import InputError
from shared_components.study.stage import Stage

SMOKE: dict[str, Any] = {"subjects": (4, 1, 1), "coarseness": 3.0}  # of the phantoms


def cardiac_quality(
    seeds: int,
    output_dir: str | Path,
    report_only: bool = False,
    held_out: str | Sequence[str] | None = None,
    rows: str | Sequence[str] | None = None,
    jobs: int = 2,
    smoke: bool = False,
) -> str:
    """Train and score, then tabulate all that is finished in the folder, also by earlier calls.

    Finished runs are kept unless the configs have changed. The tables, ``quality.md``, and what lies beside
    them (see :func:`write_comparison`) are written after every run.

    Args:
        seeds: how many, from 0 on.
        output_dir: all lies in ``<output_dir>/cardiac``.
        report_only: run nothing.
        held_out: domains to leave out in turn; all by default.
        rows: keys of ``ROWS``; all by default.
        jobs: runs at a time.
        smoke: the smallest sizes, in ``<output_dir>/cardiac_smoke``.
    Returns:
        The tables.
    Raises:
        InputError: an unknown domain or row; nothing is finished; some runs failed.
    """
    folder = Path(output_dir) / ("cardiac_smoke" if smoke else "cardiac")
    domains = chosen(held_out, DOMAINS, "held_out")
    keys = chosen(rows, tuple(ROWS), "rows")
    runs, failures = Runs(folder), []
    if not report_only:
        with runs.alone():
            for seed in range(seeds):
                _make_phantoms(folder, seed, smoke)
            places = job_places(folder, range(seeds), domains, keys)
            failures = _run(runs, folder, places, jobs, smoke)
    table = _report(folder, _results(runs, _places(folder), smoke))
    if failures:
        print(table or "")
    check_failures(failures)
    if table is None:
        raise InputError(
            f"{folder}: holds no finished run of the configs as they are; run without --report-only"
        )
    return table


def chosen(value: str | Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """What of ``known`` a command line names, as ``a,b`` or as a list; all for None.

    Raises:
        InputError: a name that is not known.
    """
    if value is None:
        return list(known)
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(map(str, value))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"{what}: expected some of {', '.join(known)}, found {', '.join(unknown) or 'none'}")
    return list(dict.fromkeys(names))


def _make_phantoms(folder: Path, seed: int, smoke: bool) -> None:
    make_cardiac(folder / f"data{seed}", seed=seed, generalisation=True, **(SMOKE if smoke else {}))


def _run(runs: Runs, folder: Path, places: Sequence[Place], jobs: int, smoke: bool) -> list[InputError]:
    """Run what is not finished; the table is written after each."""
    results = _results(runs, _places(folder), smoke)
    evaluated = {cardiac_stages(place, smoke)[1].key: place for place in places}
    finished = sum(place in results for place in places)
    print(f"{len(places)} runs, {finished} of them finished already; logs in {folder}", flush=True)

    def report(stage: Stage) -> None:
        if stage.key in evaluated:
            results.update(_results(runs, [evaluated[stage.key]], smoke))
            _report(folder, results)

    return runs.run([stage for place in places for stage in cardiac_stages(place, smoke)], jobs, report)


def _places(folder: Path) -> list[Place]:
    """Runs of which something lies in the folder."""
    seeds = sorted(int(path.name.removeprefix("seed")) for path in folder.glob("seed[0-9]*"))
    places = job_places(folder, seeds, DOMAINS, tuple(ROWS))
    return [place for place in places if place.predictions.is_dir()]


def _results(runs: Runs, places: Sequence[Place], smoke: bool) -> dict[Place, Result]:
    """Results of those that are finished, with today's configs."""
    stages = {place: cardiac_stages(place, smoke) for place in places}
    seconds = runs.done([stage for pair in stages.values() for stage in pair])
    return {
        place: read_result(place, seconds[training.key])
        for place, (training, evaluation) in stages.items()
        if evaluation.key in seconds
    }


def _report(folder: Path, results: Mapping[Place, Result]) -> str | None:
    """Write the table; None when there is no result."""
    if not results:
        return None
    found = list(results.values())
    table = cardiac_tables(found)
    write_comparison(folder, table, comparison(found))
    return table
