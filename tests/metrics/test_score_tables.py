from __future__ import annotations

import json
import math

import pytest

from shared_components.errors import InputError
from shared_components.metrics import read_scores, summarize, write_scores


def row(case: str, label: int, dice: float, hd95: float, hd: float) -> dict:
    volumes = {"predicted_ml": 1.0, "reference_ml": 2.0}
    return {"case": case, "label": label, "name": "ab"[label - 1], "dice": dice} | (
        {"hd95_mm": hd95, "hd_mm": hd} | volumes
    )


ROWS = [row("s", 1, 0.8, 2.0, 5.0), row("s", 2, 0.6, 4.0, 7.0), row("t", 1, 0.4, 3.0, 9.0)] + [
    row("t", 2, 0.0, math.nan, math.nan)
]


def test_means_and_deviations_are_over_cases_and_a_missed_class_is_counted():
    summary = summarize(ROWS)
    assert summary["a"] == pytest.approx(
        {
            "cases": 2, "dice_mean": 0.6, "dice_sd": 0.4 / 2**0.5, "hd95_mean": 2.5, "hd95_sd": 1 / 2**0.5,
            "hd_mean": 7.0, "hd_sd": 4 / 2**0.5, "missed": 0,
        }
    )  # fmt: skip
    assert (summary["b"]["hd_mean"], summary["b"]["missed"]) == (7, 1)
    assert summary["mean"]["dice_mean"] == pytest.approx((0.7 + 0.2) / 2)
    assert (summary["mean"]["hd_mean"], summary["mean"]["hd95_mean"]) == (
        6,
        3,
    )  # the case that has both classes
    assert math.isnan(summary["mean"]["hd_sd"])


def test_the_summary_beside_the_table_is_plain_json(tmp_path):
    write_scores(ROWS, tmp_path / "scores.csv")
    summary = json.loads((tmp_path / "scores.json").read_text())
    assert summary["b"]["hd_sd"] is None
    assert summary["a"]["hd_mean"] == 7


def test_a_table_of_an_earlier_version_is_read_without_the_later_column(tmp_path):
    head = "case,label,name,dice,hd95_mm,predicted_ml,reference_ml"
    (tmp_path / "scores.csv").write_text(f"{head}\ns,1,a,0.5,2,1,1\n")
    (found,) = read_scores(tmp_path / "scores.csv")
    assert found["hd95_mm"] == 2 and math.isnan(found["hd_mm"])
    assert summarize([found])["a"]["missed"] == 0
    (tmp_path / "scores.csv").write_text("case,label,name,dice\ns,1,a,0.5\n")
    with pytest.raises(InputError, match="found no 'hd95_mm'"):
        read_scores(tmp_path / "scores.csv")
