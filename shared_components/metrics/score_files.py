"""Scores on file: a row per case and class, as CSV, their summary over cases, as JSON, and pictures of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared_components.errors import InputError, printable, shown
from shared_components.files import write_atomically, write_text
from shared_components.records import read_table, write_table

COLUMNS = ("case", "label", "name", "dice", "hd95_mm", "hd_mm", "predicted_ml", "reference_ml")
NUMBERS = COLUMNS[3:]
LATER = ("hd_mm",)  # columns that tables of earlier versions lack

Row = dict[str, Any]
PANELS = {"dice": "Dice", "hd_mm": "Hausdorff, mm", "hd95_mm": "Hausdorff 95 %, mm"}
COLOURS = ("#0d9488", "#d97706", "#7c6fd6", "#dc5478", "#3b82c4", "#6f9a34")
LONGEST_SHOWN = 100  # letters of a name in a figure
STRIP = 0.22  # half the width over which the cases of a method are spread, methods are 1 apart


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over cases, per class and for ``mean`` (the mean over a case's classes).

    Returns:
        Class name to ``{"cases", "dice_mean", "dice_sd", "hd95_mean", "hd95_sd", "hd_mean", "hd_sd", "missed"}``;
        distances (mm) are over the cases that have one, ``missed`` counts the others; ``nan`` where no case is
        left, and for the deviation of a single case.
    """
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    summary = {name: _statistics([row for row in rows if row["name"] == name]) for name in names}
    by_case: dict[str, list[Row]] = {}
    for row in rows:
        by_case.setdefault(str(row["case"]), []).append(row)
    summary["mean"] = _statistics(
        [
            {key: float(np.mean([float(row[key]) for row in group])) for key in ("dice", "hd95_mm", "hd_mm")}
            for group in by_case.values()
        ]
    )
    return summary


def _statistics(rows: Sequence[Row]) -> dict[str, float]:
    found: dict[str, float] = {"cases": len(rows)}
    for name, key in (("dice", "dice"), ("hd95", "hd95_mm"), ("hd", "hd_mm")):
        known = [float(row[key]) for row in rows if math.isfinite(float(row[key]))]
        found |= {f"{name}_mean": _mean(known), f"{name}_sd": _deviation(known)}
    return found | {"missed": sum(not math.isfinite(float(row["hd95_mm"])) for row in rows)}


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _deviation(values: list[float]) -> float:
    """Sample standard deviation (n - 1)."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def write_scores(rows: Sequence[Row], output: str | Path) -> Path:
    """Write rows as CSV, and their summary as JSON beside it (numbers that have no value as ``null``)."""
    cells = (
        {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    )
    path = write_table(output, COLUMNS, cells)
    summary = {
        name: {key: None if math.isnan(value) else value for key, value in statistics.items()}
        for name, statistics in summarize(rows).items()
    }
    write_text(path.with_suffix(".json"), json.dumps(summary, indent=2) + "\n")
    return path


def read_scores(path: str | Path) -> list[Row]:
    """Read back the rows of :func:`write_scores`; ``hd_mm`` is ``nan`` in tables of versions that had none.

    Raises:
        InputError: no such file, it is damaged, or a column is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a table of scores, found no file; run the evaluation first")
    rows = read_table(path, "evaluate again")
    missing = [column for column in COLUMNS if rows and column not in (*rows[0], *LATER)]
    if missing:
        raise InputError(
            f"{path}: expected columns {', '.join(COLUMNS)}, found no '{missing[0]}'; evaluate again"
        )
    found = []
    for number, row in enumerate(rows, 1):
        try:
            numbers = {key: float(row.get(key, math.nan)) for key in NUMBERS}
            found.append(row | {"label": int(row["label"])} | numbers)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}: row {number}: expected numbers in the columns label, {', '.join(NUMBERS)}, found "
                f"{shown(row)}; evaluate again"
            ) from error
    return found


def plot_scores(tables: Mapping[str, str | Path], output_dir: str | Path) -> list[Path]:
    """Write ``<output_dir>/scores_<label>_<class>.png`` for every class of some tables.

    Args:
        tables: method to the CSV that ``score_segmentations`` wrote for it.
        output_dir: folder, made when missing.
    Returns:
        The pictures, in the order of the label values.
    Raises:
        InputError: no table, or one is missing, faulty or empty.
    """
    scores = {method: read_scores(path) for method, path in tables.items()}
    empty = [str(path) for method, path in tables.items() if not scores[method]]
    if empty or not scores:
        raise InputError(
            f"{', '.join(empty) or 'plots'}: expected scores to plot, found none; evaluate again"
        )
    classes = dict(sorted((row["label"], str(row["name"])) for rows in scores.values() for row in rows))
    return [
        _save(class_figure(scores, name), Path(output_dir) / f"scores_{value}_{_plain(name)}.png")
        for value, name in classes.items()
    ]


def class_figure(scores: Mapping[str, Sequence[Row]], name: str) -> Figure:
    """One class: a panel for each measure, in it a box and the single cases of each method.

    Args:
        scores: method to rows of a score table.
        name: the class.
    """
    figure = Figure(figsize=(3 * max(1.7, 0.5 + 0.75 * len(scores)), 3.4), dpi=130, layout="constrained")
    figure.suptitle(literal(name), fontsize=11, x=0.01, ha="left")
    axes = figure.subplots(1, len(PANELS))
    for axis, (column, title) in zip(axes, PANELS.items(), strict=True):
        for place, rows in enumerate(scores.values()):
            values = [float(row[column]) for row in rows if row["name"] == name]
            _draw(axis, place, [value for value in values if math.isfinite(value)])
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xticks(range(len(scores)), [_tick(*entry, column, name) for entry in scores.items()])
        axis.tick_params(labelsize=8)
        axis.tick_params(axis="x", rotation=0 if len(scores) < 4 else 30, length=0)
        axis.set_xlim(-0.6, len(scores) - 0.4)
        axis.set_ylim(bottom=0, top=1.02 if column == "dice" else None)
        axis.grid(True, axis="y", alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw(axis: Axes, place: int, values: Sequence[float]) -> None:
    if not values:
        return
    colour = COLOURS[place % len(COLOURS)]
    axis.boxplot(
        values, positions=[place], widths=0.55, showfliers=False, manage_ticks=False,
        boxprops={"color": colour}, whiskerprops={"color": colour}, capprops={"color": colour},
        medianprops={"color": colour, "linewidth": 2},
    )  # fmt: skip
    # evenly spread in the order of the cases: the same table always gives the same picture
    offsets = np.linspace(-STRIP, STRIP, len(values)) if len(values) > 1 else np.zeros(1)
    axis.scatter(place + offsets, values, s=9, color=colour, alpha=0.6, linewidths=0, zorder=3)


def _tick(method: str, rows: Sequence[Row], column: str, name: str) -> str:
    """A method's name, and how many of its cases have no value (a class that only one of the two has)."""
    without = sum(not math.isfinite(float(row[column])) for row in rows if row["name"] == name)
    return f"{literal(method)}\n{without} without" if without else literal(method)


def literal(name: str) -> str:
    """A name as any figure must be given it; between two dollar signs it would be taken for a formula, a faulty one for
    an error that ends the page.
    """
    return printable(name, LONGEST_SHOWN).replace("$", r"\$")


def _plain(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "class"


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    return write_atomically(path, figure.savefig)
