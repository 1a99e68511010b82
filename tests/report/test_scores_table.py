from __future__ import annotations

import math
import re

from shared_components.report.scores_table import classes_table, scores_table


def statistics(dice, hd95, missed=0, sd=0.01):
    return {"cases": 4, "dice_mean": dice, "dice_sd": sd, "hd95_mean": hd95, "hd95_sd": sd, "missed": missed}


def cells(scores) -> dict[str, list[str]]:
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", scores_table(scores))
    return {method: re.findall(r"<td .*?</td>", rest) for method, rest in rows}


def test_the_best_of_each_column_is_marked_ties_included():
    found = cells({"south": {
        "a": {"mean": statistics(0.9004, 3.0)},
        "b": {"mean": statistics(0.9001, 2.0)},
        "c": {"mean": statistics(0.5, 9.0)},
    }})  # fmt: skip
    assert ["best" in cell for cell in found["a"]] == [True, False]
    assert ["best" in cell for cell in found["b"]] == [True, True]
    assert ["best" in cell for cell in found["c"]] == [False, False]


def test_a_distance_over_fewer_subjects_is_never_the_best():
    found = cells({"south": {
        "a": {"mean": statistics(0.5, 1.0, missed=2)},
        "b": {"mean": statistics(0.9, 2.0)},
        "c": {"mean": statistics(0.0, math.nan, missed=4, sd=math.nan)},
    }})  # fmt: skip
    assert "(2 without)" in found["a"][1]
    assert "best" not in found["a"][1]
    assert "–" in found["c"][1]
    assert "±" not in found["c"][0]


def test_methods_that_a_client_lacks_leave_gaps():
    found = cells({
        "south": {"a": {"mean": statistics(0.5, 1.0)}, "b": {"mean": statistics(0.6, 1.0)}},
        "island": {"a": {"mean": statistics(0.7, 1.0)}},
    })  # fmt: skip
    assert "–" in found["b"][2]
    assert "best" not in "".join(found["a"][2:])  # nothing to compare with


def test_classes_stand_below_each_other_without_a_best():
    summary = {"heart": statistics(0.9, 2.0), "mean": statistics(0.8, 3.0, missed=1)}
    page = classes_table(summary, ["heart", "lung", "mean"])
    assert page.count("<tr>") == 3 and "lung" not in page and "best" not in page
    assert "0.900" in page and "3.0" in page and "(1 without)" in page
