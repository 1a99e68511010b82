"""Tables of the cardiac quality benchmark, from whatever runs are finished."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared_components.benchmarks.cardiac_jobs import LABEL_FRACTION, Place
from shared_components.benchmarks.cardiac_rows import FULL, ROWS
from shared_components.benchmarks.processes import Job
from shared_components.benchmarks.tables import machine, markdown, mean, mean_and_deviation, read_table


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        dice, hd95: mean over the held-out domain's test subjects and classes (mm); distances of classes that were
            not found have no value and are left out.
        missed: share of subjects' classes that were not found.
        seconds: wall time of the training.
        iterations: of the training; one of ours holds an update with and one without labels.
    """

    seed: int
    held_out: str
    row: str
    dice: float
    hd95: float
    missed: float
    seconds: float
    iterations: int


def read_result(place: Place, job: Job) -> Result | None:
    """The run's result, or None while it is not finished."""
    seconds = job.steps[0].seconds()
    if seconds is None or not job.is_done():
        return None
    cases = read_table(place.predictions / "scores.csv")
    return Result(
        place.seed,
        place.held_out,
        place.row,
        mean(case["dice"] for case in cases),
        mean(case["hd95_mm"] for case in cases),
        statistics.fmean(case["hd95_mm"].lower() in ("", "nan") for case in cases),
        seconds,
        int(read_table(place.training / "metrics.csv")[-1]["update"]),
    )


def cardiac_tables(results: Sequence[Result]) -> str:
    """Markdown: Dice, HD95, the ablation and the trainings' times."""
    seeds = len({result.seed for result in results})
    parts = [
        f"Cardiac phantoms, labels in {LABEL_FRACTION:.0%} of the subjects of every training domain; each column's "
        f"domain was held out. Mean ± sd over {seeds} seeds, (n): over n only.\n",
        _scores(results, "Dice", lambda result: result.dice, 3),
        _scores(results, "HD95 (mm)", lambda result: result.hd95, 1),
    ]
    ablation = _ablation(results)
    return "\n".join([*parts, *([ablation] if ablation else []), _costs(results), machine(), ""])


def _scores(results: Sequence[Result], title: str, value: Callable[[Result], float], digits: int) -> str:
    domains, seeds = sorted({r.held_out for r in results}), {r.seed for r in results}
    lines = []
    for row in _rows(results):
        own = [result for result in results if result.row == row and math.isfinite(value(result))]
        columns = [[value(r) for r in own if r.held_out == domain] for domain in domains]
        columns.append([found for _, found in _means(own, domains, value)])
        lines.append([ROWS[row].name, *(_cell(values, digits, len(seeds)) for values in columns)])
    return markdown([title, *domains, "mean"], lines)


def _rows(results: Sequence[Result]) -> list[str]:
    """Rows with a result, in the order of ``ROWS``."""
    found = {result.row for result in results}
    return [row for row in ROWS if row in found]


def _means(
    own: Sequence[Result], domains: Sequence[str], value: Callable[[Result], float]
) -> list[tuple[int, float]]:
    """Seed and mean over the domains, of a row's seeds that have all of them."""
    means = []
    for seed in sorted({result.seed for result in own}):
        values = {result.held_out: value(result) for result in own if result.seed == seed}
        if len(values) == len(domains):
            means.append((seed, statistics.fmean(values.values())))
    return means


def _cell(values: Sequence[float], digits: int, seeds: int) -> str:
    """``0.850 ± 0.141``; without a deviation for one seed; with their number where it is not all seeds."""
    text = mean_and_deviation(values, digits)
    if len(values) == 1:
        text = text.split(" ± ")[0]
    return text if len(values) in (0, seeds) else f"{text} ({len(values)})"


def _ablation(results: Sequence[Result]) -> str | None:
    """Mean Dice of the full method and of what is left without a part, and the paired difference."""
    domains, seeds = sorted({r.held_out for r in results}), {r.seed for r in results}
    means = {
        row: dict(_means([r for r in results if r.row == row], domains, lambda result: result.dice))
        for row in ROWS
        if ROWS[row].ablation or row == FULL
    }
    full = means.pop(FULL)
    if not full or not any(means.values()):
        return None
    lines = [[ROWS[FULL].name, _cell(list(full.values()), 3, len(seeds)), ""]]
    for row, found in means.items():
        pairs = [found[seed] - full[seed] for seed in found if seed in full]
        lines.append(
            [ROWS[row].name, _cell(list(found.values()), 3, len(seeds)), _cell(pairs, 3, len(seeds))]
        )
    return markdown(["Ablation", "mean Dice", "difference, same seeds"], lines)


def _costs(results: Sequence[Result]) -> str:
    """Per row: classes that were not found, time and updates of a training."""
    lines = []
    for row in _rows(results):
        own = [result for result in results if result.row == row]
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
