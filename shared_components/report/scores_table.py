"""Tables of Dice and Hausdorff distance: of several clients, of several methods, of several classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shared_components.report.html import Html, element, table

Summary = Mapping[str, Mapping[str, float]]
Scores = Mapping[str, Mapping[str, Summary]]  # client -> method -> class -> statistics


def scores_table(scores: Scores, name: str = "mean") -> Html:
    """Mean ± standard deviation over subjects: a line for each client, a column for each method.

    So the page stays as wide as there are methods, however many clients there are. The best of a line is in bold.

    Args:
        scores: of each client and method what ``metrics.summarize`` returns.
        name: class of the summaries to show.
    """
    methods = list(dict.fromkeys(method for by_method in scores.values() for method in by_method))
    rows = []
    for client, by_method in scores.items():
        counts = (int(summary[name]["cases"]) for summary in by_method.values() if name in summary)
        best = {kind: best_methods(by_method, name, kind) for kind in ("dice", "hd95")}
        head = element("td", client, element("div", element("small", f"n = {max(counts, default=0)}")))
        rows.append([head, *(_both(by_method.get(method, {}).get(name), method, best) for method in methods)])
    return table(["Client", *methods], rows, class_="scores", style=f"--columns: {len(methods)}")


def methods_table(by_method: Mapping[str, Summary], name: str = "mean") -> Html:
    """The same of one set of cases: a line for each method; the best of a column is in bold."""
    found = {method: summary[name] for method, summary in by_method.items() if name in summary}
    best = {kind: best_methods(by_method, name, kind) for kind in ("dice", "hd95")}
    rows = [
        [
            method,
            int(values["cases"]),
            _cell(values, "dice", 3, method in best["dice"]),
            _cell(values, "hd95", 1, method in best["hd95"]),
        ]
        for method, values in found.items()
    ]
    return table(["Method", "Cases", "Dice", "HD95, mm"], rows)


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


def _both(values: Mapping[str, float] | None, method: str, best: Mapping[str, set[str]]) -> Html:
    """Dice with its bar, and under it the distance."""
    if values is None:
        return element("td", "–", class_="number")
    lines = [
        element("div", *_texts(values, kind, digits), class_="best" if method in best[kind] else None)
        for kind, digits in (("dice", 3), ("hd95", 1))
    ]
    return element("td", *lines, class_="number share", style=_share(values))


def _cell(values: Mapping[str, float], kind: str, digits: int, is_best: bool = False) -> Html:
    classes = ["number", *(["share"] if kind == "dice" else []), *(["best"] if is_best else [])]
    style = _share(values) if kind == "dice" else None
    return element("td", *_texts(values, kind, digits), class_=" ".join(classes), style=style)


def _share(values: Mapping[str, float]) -> str:
    mean = values["dice_mean"]
    return f"--share: {100 * mean:.0f}%" if math.isfinite(mean) else "--share: 0%"


def _texts(values: Mapping[str, float], kind: str, digits: int) -> tuple[str, Html]:
    """The mean, and in small print its deviation and the subjects without a distance."""
    mean, spread = values[f"{kind}_mean"], values[f"{kind}_sd"]
    text = f"{mean:.{digits}f}" if math.isfinite(mean) else "–"
    around = f" ± {spread:.{digits}f}" if math.isfinite(spread) else ""
    missed = f" ({int(values['missed'])} without)" if kind == "hd95" and values["missed"] else ""
    return text, element("small", around + missed)
