"""Tables of scores: a row per case and class, as CSV, and their summary over cases, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.records import read_table, write_table

COLUMNS = ("case", "label", "name", "dice", "hd95_mm", "hd_mm", "predicted_ml", "reference_ml")
NUMBERS = COLUMNS[3:]
LATER = ("hd_mm",)  # columns that tables of earlier versions lack

Row = dict[str, Any]


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
    return [
        row | {"label": int(row["label"])} | {key: float(row.get(key, math.nan)) for key in NUMBERS}
        for row in rows
    ]
