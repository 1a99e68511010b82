"""Domain generalisation on cardiac phantoms: every row, held-out domain and seed, in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from shared_components.benchmarks.cardiac_jobs import cardiac_job
from shared_components.benchmarks.cardiac_places import DOMAINS, job_places
from shared_components.benchmarks.cardiac_rows import ROWS
from shared_components.benchmarks.cardiac_table import Result, cardiac_tables, read_result
from shared_components.benchmarks.processes import Job, locked, run_jobs
from shared_components.data.phantoms import make_cardiac
from shared_components.errors import InputError
from shared_components.files import write_text

SMOKE = {"subjects": (4, 1, 1), "coarseness": 3.0}  # of the phantoms


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

    Finished runs are kept unless the configs have changed. ``quality.md`` is written after every run.

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
    failures: dict[str, str] = {}
    if not report_only:
        with locked(folder):
            for seed in range(seeds):
                _make_phantoms(folder, seed, smoke)
            places = job_places(folder, range(seeds), domains, keys)
            failures = _run([cardiac_job(place, smoke) for place in places], folder, jobs, smoke)
    table = _report(folder, smoke)
    if failures:
        print(table or "")
        listed = "\n".join(f"  {name}: {reason}" for name, reason in failures.items())
        raise InputError(
            f"{len(failures)} runs failed; mend and run again, finished ones are kept:\n{listed}"
        )
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


def _run(jobs: Sequence[Job], folder: Path, workers: int, smoke: bool) -> dict[str, str]:
    """Run the jobs with a line for each as it ends; the table is written after each."""
    start, left = time.perf_counter(), sum(not job.is_done() for job in jobs)
    print(f"{len(jobs)} runs, {len(jobs) - left} of them finished already; logs in {folder}", flush=True)
    ended = 0

    def report(job: Job, failure: str | None) -> None:
        nonlocal ended
        ended += 1
        minutes = (time.perf_counter() - start) / ended * (left - ended) / 60
        what = f"FAILED: {failure}" if failure else f"{job.steps[0].seconds():.0f} s of training"
        print(f"{ended}/{left} {job.name}: {what}; about {minutes:.0f} min left", flush=True)
        _report(folder, smoke)

    return run_jobs(jobs, workers, report)


def _report(folder: Path, smoke: bool) -> str | None:
    """Write the table of all finished runs in the folder; None when there is none."""
    results = list(_results(folder, smoke))
    if not results:
        return None
    table = cardiac_tables(results)
    write_text(folder / "quality.md", table)
    return table


def _results(folder: Path, smoke: bool) -> Iterable[Result]:
    """Finished runs of today's configs."""
    seeds = sorted(int(path.name.removeprefix("seed")) for path in folder.glob("seed[0-9]*"))
    for place in job_places(folder, seeds, DOMAINS, tuple(ROWS)):
        if place.predictions.is_dir() and place.has_data():
            result = read_result(place, cardiac_job(place, smoke))
            if result is not None:
                yield result
