"""Tables of the cardiac quality benchmark, from whatever runs are finished."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared_components.benchmarks.cardiac_places import Place
from shared_components.benchmarks.cardiac_rows import FULL, ROWS
from shared_components.benchmarks.cardiac_stages import LABEL_FRACTION
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


def read_result(place: Place, seconds: float) -> Result:
    """The result of a finished run, whose training took ``seconds``."""
    cases = read_table(place.predictions / "scores.csv")
    return Result(
        place.seed,
        place.held_out,
        place.row,
        mean(case["dice"] for case in cases),
        mean(case["hd95_mm"] for case in cases),
        statistics.fmean(case["hd95_mm"].lower() in ("", "nan") for case in cases),
        seconds,
        int(read_table(place.trained / "metrics.csv")[-1]["update"]),
    )


def cardiac_tables(results: Sequence[Result]) -> str:
    """Markdown: Dice, HD95, the ablation and the trainings' times."""
    seeds = len({result.seed for result in results})
    rows = _rows(results)
    methods = [row for row in rows if not ROWS[row].ablation]
    ablations = [row for row in rows if ROWS[row].ablation]
    parts = [
        f"Cardiac phantoms; each column's domain was held out. Labels in {LABEL_FRACTION:.0%} of the training subjects "
        "of every other domain, but where a row says otherwise, and in all their validation subjects. "
        "Meta-learning on real images is of first order (second_order: false), but where a row says otherwise. "
        f"Mean ± sd over {seeds} {'seed' if seeds == 1 else 'seeds'}; (n): over n only.\n",
    ]
    if methods:
        parts.append(_scores(results, methods, "Dice", _dice, 3))
        parts.append(_scores(results, methods, "HD95 (mm)", lambda result: result.hd95, 1))
    if ablations:
        parts.append(_ablation(results, [row for row in rows if row == FULL] + ablations))
    return "\n".join([*parts, _costs(results), machine(), ""])


def _rows(results: Sequence[Result]) -> list[str]:
    """Rows with a result, in the order of ``ROWS``."""
    found = {result.row for result in results}
    return [row for row in ROWS if row in found]


def _domains(results: Sequence[Result]) -> list[str]:
    return sorted({result.held_out for result in results})


def _scores(
    results: Sequence[Result],
    rows: Sequence[str],
    title: str,
    value: Callable[[Result], float],
    digits: int,
) -> str:
    """A line per row: a score on every held-out domain, and its mean over them."""
    domains = _domains(results)
    lines = [[ROWS[row].name, *_cells(results, row, value, digits)] for row in rows]
    return markdown([title, *domains, "mean"], lines)


def _ablation(results: Sequence[Result], rows: Sequence[str]) -> str:
    """Dice of the full method and of what is left without a part; differences are between equal seeds."""
    seeds = len({result.seed for result in results})
    full = _means(results, FULL, _dice)
    lines = []
    for row in rows:
        means = _means(results, row, _dice)
        pairs = [means[seed] - full[seed] for seed in means if seed in full and row != FULL]
        lines.append([ROWS[row].name, *_cells(results, row, _dice, 3), _cell(pairs, 3, seeds)])
    return markdown(["Ablation: Dice", *_domains(results), "mean", "difference of the means"], lines)


def _dice(result: Result) -> float:
    return result.dice


def _cells(results: Sequence[Result], row: str, value: Callable[[Result], float], digits: int) -> list[str]:
    """A row's cells: the held-out domains, then their mean."""
    seeds = len({result.seed for result in results})
    known = [result for result in results if result.row == row and math.isfinite(value(result))]
    columns = [[value(r) for r in known if r.held_out == domain] for domain in _domains(results)]
    columns.append(list(_means(results, row, value).values()))
    return [_cell(values, digits, seeds) for values in columns]


def _means(results: Sequence[Result], row: str, value: Callable[[Result], float]) -> dict[int, float]:
    """Seed to mean over the domains, of those seeds of a row that have a value for all of them."""
    means, domains = {}, _domains(results)
    for seed in sorted({result.seed for result in results}):
        values = [value(r) for r in results if (r.row, r.seed) == (row, seed) and math.isfinite(value(r))]
        if len(values) == len(domains):
            means[seed] = statistics.fmean(values)
    return means


def _cell(values: Sequence[float], digits: int, seeds: int) -> str:
    """``0.850 ± 0.141``; without a deviation for one seed; with their number where it is not all seeds."""
    text = mean_and_deviation(values, digits)
    if len(values) == 1:
        text = text.split(" ± ")[0]
    return text if len(values) in (0, seeds) else f"{text} ({len(values)})"


def _costs(results: Sequence[Result]) -> str:
    """Per row: classes that were not found, time and iterations of a training."""
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
