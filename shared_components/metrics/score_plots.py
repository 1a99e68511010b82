"""Pictures of score tables: for each class the spread of Dice and Hausdorff distances over cases, method by method."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared_components.errors import InputError
from shared_components.files import write_atomically
from shared_components.metrics.score_tables import Row, read_scores

PANELS = {"dice": "Dice", "hd_mm": "Hausdorff, mm", "hd95_mm": "Hausdorff 95 %, mm"}
COLOURS = ("#0d9488", "#d97706", "#7c6fd6", "#dc5478", "#3b82c4", "#6f9a34")
STRIP = 0.22  # half the width over which the cases of a method are spread, methods are 1 apart


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
    figure.suptitle(name, fontsize=11, x=0.01, ha="left")
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
    return f"{method}\n{without} without" if without else method


def _plain(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "class"


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    return write_atomically(path, figure.savefig)
