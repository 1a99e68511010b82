"""Tables of Dice and Hausdorff distance: methods below each other, clients beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shared_components.report.html import Html, element, table

Summary = Mapping[str, Mapping[str, float]]
Scores = Mapping[str, Mapping[str, Summary]]  # client -> method -> class -> statistics


def scores_table(scores: Scores, name: str = "mean") -> Html:
    """Mean ± standard deviation over subjects, a line for each method; the best of a column is in bold.

    Args:
        scores: of each client and method what ``metrics.summarize`` returns.
        name: class of the summaries to show.
    """
    methods = list(dict.fromkeys(method for by_method in scores.values() for method in by_method))
    groups: list[tuple[object, int]] = [("", 1)]
    for client, by_method in scores.items():
        cases = max(int(summary[name]["cases"]) for summary in by_method.values() if name in summary)
        groups.append((f"{client} (n = {cases})", 2))
    head = ["Method", *["Dice", "HD95, mm"] * len(scores)]
    columns = [
        column
        for by_method in scores.values()
        for column in (_dice_column(methods, by_method, name), _distance_column(methods, by_method, name))
    ]
    return table(head, zip(methods, *columns, strict=True), groups=groups)


def classes_table(summary: Summary, names: Sequence[str]) -> Html:
    """Mean ± standard deviation over subjects, a line for each class.

    Args:
        summary: what ``metrics.summarize`` returns.
        names: classes to show; those that are not in the summary are left out.
    """
    rows = [
        [name, int(summary[name]["cases"]), _cell(summary[name], "dice", 3), _cell(summary[name], "hd95", 1)]
        for name in names
        if name in summary
    ]
    return table(["Class", "Cases", "Dice", "HD95, mm"], rows)


def _dice_column(methods: Sequence[str], by_method: Mapping[str, Summary], name: str) -> list[Html]:
    return _column(methods, by_method, name, "dice", digits=3, best=max)


def _distance_column(methods: Sequence[str], by_method: Mapping[str, Summary], name: str) -> list[Html]:
    return _column(methods, by_method, name, "hd95", digits=1, best=min)


def _column(
    methods: Sequence[str], by_method: Mapping[str, Summary], name: str, kind: str, digits: int, best
):
    """Cells of one column; a distance that leaves out subjects cannot be the best one."""
    found = {method: summary[name] for method, summary in by_method.items() if name in summary}
    means = {
        method: round(values[f"{kind}_mean"], digits)
        for method, values in found.items()
        if math.isfinite(values[f"{kind}_mean"]) and not (kind == "hd95" and values["missed"])
    }
    winner = best(means.values()) if len(means) > 1 else None
    return [
        _cell(found.get(method), kind, digits, winner is not None and means.get(method) == winner)
        for method in methods
    ]


def _cell(values: Mapping[str, float] | None, kind: str, digits: int, is_best: bool = False) -> Html:
    if values is None:
        return element("td", "–", class_="number")
    mean, spread = values[f"{kind}_mean"], values[f"{kind}_sd"]
    text = f"{mean:.{digits}f}" if math.isfinite(mean) else "–"
    around = f" ± {spread:.{digits}f}" if math.isfinite(spread) else ""
    missed = f" ({int(values['missed'])} without)" if kind == "hd95" and values["missed"] else ""
    bar = (
        {"class_": "number share", "style": f"--share: {100 * mean:.0f}%"}
        if kind == "dice"
        else {"class_": "number"}
    )
    if is_best:
        bar["class_"] += " best"
    return element("td", text, element("small", around + missed), **bar)
