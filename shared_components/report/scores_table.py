"""Tables of Dice and Hausdorff distance: of several clients, of several methods, of several classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Summary = Mapping[str, Mapping[str, float]]
Scores = Mapping[str, Mapping[str, Summary]]  # client -> method -> class -> statistics
DIGITS = {"dice": 3, "hd95": 1}


class Score(NamedTuple):
    """A mean as a table shows it.

    Attributes:
        mean: in digits.
        around: its deviation, and the subjects without a distance.
        share: of Dice, how long its bar is, %.
        best: whether none of its line or column is better.
    """

    mean: str
    around: str
    share: str | None
    best: bool


class ClientLine(NamedTuple):
    """Scores of a client: of each method Dice and distance, None where there are none; ``cases``: subjects."""

    client: str
    cases: int
    cells: list[tuple[Score, Score] | None]


class ClientsTable(NamedTuple):
    """A line for each client, a column for each method."""

    methods: list[str]
    lines: list[ClientLine]


class ScoreLine(NamedTuple):
    """Scores of a method or class."""

    name: str
    cases: int
    dice: Score
    hd95: Score


def clients_table(scores: Scores, name: str = "mean") -> ClientsTable:
    """Mean ± standard deviation over subjects: a line for each client, a column for each method.

    So the page stays as wide as there are methods, however many clients there are. The best of a line is marked.

    Args:
        scores: of each client and method what ``metrics.summarize`` returns.
        name: class of the summaries to show.
    """
    methods = list(dict.fromkeys(method for by_method in scores.values() for method in by_method))
    lines = []
    for client, by_method in scores.items():
        found = {method: summary[name] for method, summary in by_method.items() if name in summary}
        best = {kind: best_methods(by_method, name, kind) for kind in DIGITS}
        cells = [_both(found[method], method, best) if method in found else None for method in methods]
        cases = max((int(values["cases"]) for values in found.values()), default=0)
        lines.append(ClientLine(client, cases, cells))
    return ClientsTable(methods, lines)


def methods_table(by_method: Mapping[str, Summary], name: str = "mean") -> list[ScoreLine]:
    """The same of one set of cases: a line for each method; the best of a column is marked."""
    best = {kind: best_methods(by_method, name, kind) for kind in DIGITS}
    found = {method: summary[name] for method, summary in by_method.items() if name in summary}
    return [ScoreLine(m, int(values["cases"]), *_both(values, m, best)) for m, values in found.items()]


def classes_table(summary: Summary, names: Sequence[str]) -> list[ScoreLine]:
    """Mean ± standard deviation over subjects, a line for each class.

    Args:
        summary: what ``metrics.summarize`` returns.
        names: classes to show; those that are not in the summary are left out.
    """
    found = {name: summary[name] for name in names if name in summary}
    return [ScoreLine(name, int(values["cases"]), *_both(values, name, {})) for name, values in found.items()]


def best_methods(by_method: Mapping[str, Summary], name: str, kind: str) -> set[str]:
    """Methods of the best mean as it is shown; none where there is but one to choose from.

    Args:
        by_method: method -> class -> statistics.
        name: the class.
        kind: ``dice``, or ``hd95``, of which one that leaves out subjects cannot be the best.
    """
    best, digits = (max, 3) if kind == "dice" else (min, 1)
    means = {
        method: round(summary[name][f"{kind}_mean"], digits)
        for method, summary in by_method.items()
        if name in summary
        and math.isfinite(summary[name][f"{kind}_mean"])
        and not (kind == "hd95" and summary[name]["missed"])
    }
    winner = best(means.values()) if len(means) > 1 else None
    return {method for method, mean in means.items() if mean == winner}


def _both(values: Mapping[str, float], method: str, best: Mapping[str, set[str]]) -> tuple[Score, Score]:
    """Dice and distance."""
    dice, distance = (_score(values, kind, method in best.get(kind, ())) for kind in DIGITS)
    return dice, distance


def _score(values: Mapping[str, float], kind: str, is_best: bool) -> Score:
    mean, spread, digits = values[f"{kind}_mean"], values[f"{kind}_sd"], DIGITS[kind]
    text = f"{mean:.{digits}f}" if math.isfinite(mean) else "–"
    around = f" ± {spread:.{digits}f}" if math.isfinite(spread) else ""
    missed = f" ({int(values['missed'])} without)" if kind == "hd95" and values["missed"] else ""
    share = f"{100 * mean:.0f}" if math.isfinite(mean) else "0"
    return Score(text, around + missed, share if kind == "dice" else None, is_best)
