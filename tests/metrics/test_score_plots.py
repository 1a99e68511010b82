from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.metrics import read_scores, write_scores
from shared_components.metrics.score_plots import PANELS, class_figure, plot_scores

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
