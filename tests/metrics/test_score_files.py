from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.metrics import read_scores, summarize, write_scores
from shared_components.metrics.score_files import PANELS, class_figure, plot_scores


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
    # the case that has both classes
    assert (summary["mean"]["hd_mean"], summary["mean"]["hd95_mean"]) == (6, 3)
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


@pytest.mark.parametrize("row", ["s,1,a,,2,1,1", "s,1,a,0.5,2", "s,one,a,0.5,2,1,1"])
def test_a_row_that_was_cut_or_emptied_is_named(tmp_path, row):
    head = "case,label,name,dice,hd95_mm,predicted_ml,reference_ml"
    (tmp_path / "scores.csv").write_text(f"{head}\ns,1,a,0.5,2,1,1\n{row}\n")
    with pytest.raises(InputError, match=r"scores\.csv: .*evaluate again"):
        read_scores(tmp_path / "scores.csv")


def test_names_with_dollar_signs_are_no_formulas(tmp_path):
    tables = {"a$\\x$b": table(tmp_path, "a$\\x$b", 0.8)}
    assert all(path.is_file() for path in plot_scores(tables, tmp_path))


CLASSES = {2: "left ventricle / cavity", 1: "myocardium"}


def table(folder, method: str, dice: float, missing: int = 0):
    rows = [
        {"case": f"s{number}", "label": value, "name": name, "dice": dice + 0.01 * number}
        | {"hd95_mm": 2.0 + number, "hd_mm": np.nan if number < missing else 4.0 + number}
        | {"predicted_ml": 1.0, "reference_ml": 1.0}
        for number in range(5)
        for value, name in CLASSES.items()
    ]
    return write_scores(rows, folder / method / "scores.csv")


def test_each_class_has_a_picture_under_a_plain_name(tmp_path):
    tables = {"one": table(tmp_path, "one", 0.6), "two": table(tmp_path, "two", 0.9)}
    files = plot_scores(tables, tmp_path / "out")
    assert [file.name for file in files] == ["scores_1_myocardium.png", "scores_2_left_ventricle_cavity.png"]
    for file in files:
        with Image.open(file) as image:
            colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert (colours.min(axis=0) < 200).all() and len(np.unique(colours, axis=0)) > 50


def test_every_case_is_a_point_and_those_without_a_value_are_counted(tmp_path):
    scores = {
        method: read_scores(table(tmp_path, method, dice, missing))
        for method, dice, missing in (("one", 0.6, 0), ("two", 0.9, 2), ("three", 0.1, 5))
    }
    figure = class_figure(scores, "myocardium")
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(PANELS.values())
    dice, largest, _ = figure.axes
    points = [np.sort(strip.get_offsets()[:, 1]) for strip in dice.collections]
    np.testing.assert_allclose(points[1], 0.9 + 0.01 * np.arange(5))
    assert [len(strip.get_offsets()) for strip in largest.collections] == [5, 3]  # none left of "three"
    ticks = [tick.get_text() for tick in largest.get_xticklabels()]
    assert ticks == ["one", "two\n2 without", "three\n5 without"]
    assert dice.get_ylim() == (0, 1.02)


def test_nothing_to_plot_is_said(tmp_path):
    with pytest.raises(InputError, match="expected scores to plot, found none"):
        plot_scores({}, tmp_path)
    with pytest.raises(InputError, match=r"scores\.csv: expected scores to plot"):
        plot_scores({"empty": write_scores([], tmp_path / "scores.csv")}, tmp_path)
    with pytest.raises(InputError, match=r"absent\.csv: expected a table of scores"):
        plot_scores({"absent": tmp_path / "absent.csv"}, tmp_path)
