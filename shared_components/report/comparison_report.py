"""``report.html`` of a comparison: the scores of several methods on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.metrics import read_scores, summarize
from shared_components.metrics.score_tables import Row
from shared_components.report.case_table import rows_of
from shared_components.report.figures import file_uri
from shared_components.report.html import Html, element, page, picture, section, table
from shared_components.report.links import file_link
from shared_components.report.scores_table import methods_table


def write_comparison_report(output_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of what ``compare_segmentations`` has written.

    Args:
        output_dir: the folder, with ``<method>/scores.csv``.
        output: the page; by default ``<output_dir>/report.html``.
    Raises:
        InputError: no method's scores, or a damaged table.
    """
    folder = Path(output_dir)
    output = Path(output or folder / "report.html")
    tables = {path.parent.name: path for path in sorted(folder.glob("*/scores.csv"))}
    scores = {method: rows for method, rows in ((m, read_scores(path)) for m, path in tables.items()) if rows}
    if not scores:
        raise InputError(f"{folder}: expected scores of several methods, found none; compare them again")
    cases = list(dict.fromkeys(str(row["case"]) for rows in scores.values() for row in rows))
    plots = [
        picture(file_uri(path), kind="sheet", alternative=path.stem)
        for path in sorted(folder.glob("scores_*.png"))
    ]
    sections = [
        _scores(scores),
        section("Spread over cases", *plots) if plots else Html(""),
        _cases(scores, cases),
        section(
            "Files", table(["Method", "Scores"], [[m, file_link(p, output)] for m, p in tables.items()], 9)
        ),
    ]
    facts = [(len(scores), "methods"), (len(cases), "cases")]
    return write_text(output, page(f"Comparison in {folder.resolve().name}", "", facts, sections))


def _scores(scores: Mapping[str, Sequence[Row]]) -> Html:
    summaries = {method: summarize(rows) for method, rows in scores.items()}
    names = [
        name for name in dict.fromkeys(n for summary in summaries.values() for n in summary) if name != "mean"
    ]
    parts: list[Html] = [methods_table(summaries)]
    for name in names if len(names) > 1 else []:
        parts += [element("h3", name), methods_table(summaries, name)]
    note = (
        "Mean ± standard deviation over cases, first of the mean over classes; HD95: 95 % Hausdorff distance."
    )
    return section("Scores", *parts, note=note)


def _cases(scores: Mapping[str, Sequence[Row]], cases: Sequence[str]) -> Html:
    lines = []
    for case in cases:
        found = [[float(row["dice"]) for row in rows_of(case, rows)] for rows in scores.values()]
        means = [float(np.mean(values)) if values else None for values in found]
        best = max((round(mean, 3) for mean in means if mean is not None), default=None)
        lines.append([case, *(_cell(mean, best) for mean in means)])
    return section(
        "Dice of each case", table(["Case", *scores], lines), note="Mean over classes; the best is in bold."
    )


def _cell(mean: float | None, best: float | None) -> Html:
    if mean is None:
        return element("td", "–", class_="number")
    return element("td", f"{mean:.3f}", class_="number best" if round(mean, 3) == best else "number")
