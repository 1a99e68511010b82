"""Tables of unseen domains, from whatever runs are finished."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from shared_components.benchmarks.comparison_tables import (
    Comparison,
    comparison_tables,
    legend,
    score_table,
)
from shared_components.benchmarks.tables import machine, markdown, mean_and_deviation, read_table
from shared_components.benchmarks.unseen_places import Place, UnseenBench
from shared_components.benchmarks.unseen_rows import FULL, ROWS
from shared_components.metrics.subject_scores import SubjectScore, subject_scores


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


def read_result(place: Place, seconds: float) -> Result:
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
    seeds = methods.seeds
    length = " A third of the updates." if bench.fast else ""
    parts = [
        f"{bench.scenario.words}{length} "
        "Meta-learning on real images is of first order (second_order: false), but where a row says otherwise. "
        f"Mean ± sd over {seeds} {'seed' if seeds == 1 else 'seeds'}.\n",
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
