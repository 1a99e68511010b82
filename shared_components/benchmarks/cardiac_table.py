"""Tables of the cardiac quality benchmark, from whatever runs are finished."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from shared_components.benchmarks.cardiac_places import Place
from shared_components.benchmarks.cardiac_rows import FULL, ROWS
from shared_components.benchmarks.cardiac_stages import LABEL_FRACTION
from shared_components.benchmarks.comparison_tables import (
    Comparison,
    comparison_tables,
    legend,
    score_table,
)
from shared_components.benchmarks.tables import machine, markdown, mean_and_deviation, read_table
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


def comparison(results: Sequence[Result], rows: Sequence[str] = tuple(ROWS)) -> Comparison:
    """Those of ``rows`` that have a result, compared with the full method."""
    scores = [score for result in results for score in result.scores]
    found = {result.row for result in results}
    methods = [ROWS[row].name for row in rows if row in found]
    return Comparison(scores, methods, sorted({score.client for score in scores}), ROWS[FULL].name)


def cardiac_tables(results: Sequence[Result]) -> str:
    """Markdown: Dice, HD95, classes, the ablation and the trainings' times."""
    methods = comparison(results, [row for row in ROWS if not ROWS[row].ablation])
    ablations = comparison(results, [row for row in ROWS if ROWS[row].ablation or row == FULL])
    seeds = methods.seeds
    parts = [
        f"Cardiac phantoms; each column's domain was held out. Labels in {LABEL_FRACTION:.0%} of the training subjects "
        "of every other domain, but where a row says otherwise, and in all their validation subjects. "
        "Meta-learning on real images is of first order (second_order: false), but where a row says otherwise. "
        f"Mean ± sd over {seeds} {'seed' if seeds == 1 else 'seeds'}.\n",
        legend(ROWS[FULL].name),
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
