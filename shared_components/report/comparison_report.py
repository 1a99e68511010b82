"""``report.html`` of a comparison: the scores of several methods on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared_components.errors import InputError
from shared_components.metrics import read_scores, summarize
from shared_components.metrics.score_tables import Row
from shared_components.report.case_table import rows_of
from shared_components.report.pages import file_link, write_page
from shared_components.report.run_sections import picture_part
from shared_components.report.scores_table import ScoreLine, methods_table


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
    return write_page(
        output,
        "comparison.html",
        f"Comparison in {folder.resolve().name}",
        "",
        [(len(scores), "methods"), (len(cases), "cases")],
        scores=_scores(scores),
        plots=[
            picture_part(path, kind="sheet", alternative=path.stem)
            for path in sorted(folder.glob("scores_*.png"))
        ],
        methods=list(scores),
        cases=[_case(case, scores) for case in cases],
        files=[(method, file_link(path, output)) for method, path in tables.items()],
    )


def _scores(scores: Mapping[str, Sequence[Row]]) -> list[tuple[str, list[ScoreLine]]]:
    """The table of the mean over classes, then, where there are several, one of each class by its name."""
    summaries = {method: summarize(rows) for method, rows in scores.items()}
    names = [n for n in dict.fromkeys(n for summary in summaries.values() for n in summary) if n != "mean"]
    classes = [(name, methods_table(summaries, name)) for name in names if len(names) > 1]
    return [("", methods_table(summaries)), *classes]


def _case(case: str, scores: Mapping[str, Sequence[Row]]) -> tuple[str, list[str], str]:
    """Its name, Dice under each method, and the best of these."""
    found = [[float(row["dice"]) for row in rows_of(case, rows)] for rows in scores.values()]
    means = [f"{np.mean(values):.3f}" if values else "–" for values in found]
    return case, means, max((mean for mean in means if mean != "–"), key=float, default="")
