from __future__ import annotations

import math
import re

from shared_components.report.scores_table import classes_table, clients_table, methods_table
from tests.report.rendered import rendered


def statistics(dice, hd95, missed=0, sd=0.01):
    return {"cases": 4, "dice_mean": dice, "dice_sd": sd, "hd95_mean": hd95, "hd95_sd": sd, "missed": missed}


def cells(scores) -> dict[str, list[str]]:
    """Method to its Dice and its distance, one client after the other."""
    page = rendered("s.by_client(m, table)", table=clients_table(scores))
    _, *methods = re.findall(r"<th.*?>(.*?)</th>", page)
    found = {method: [] for method in methods}
    for row in re.findall(r"<tr><td>(.*?)</tr>", page):
        for method, cell in zip(methods, re.findall(r"<td class=.*?</td>", row), strict=True):
            found[method] += re.findall(r"<div.*?</div>", cell) or ["–", "–"]
    return found


def by_line(lines) -> str:
    return rendered("s.by_line(m, 'Method', lines)", lines=lines)


def test_the_best_of_each_client_is_marked_ties_included():
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
    page = by_line(classes_table(summary, ["heart", "lung", "mean"]))
    assert page.count("<tr>") == 3 and "lung" not in page and "best" not in page
    assert "0.900" in page and "3.0" in page and "(1 without)" in page


def test_page_is_as_wide_with_sixteen_clients_as_with_two():
    methods = {"a": {"mean": statistics(0.5, 1.0)}, "b": {"mean": statistics(0.6, 2.0)}}
    for number in (2, 16):
        table = clients_table({f"client{i}": methods for i in range(number)})
        page = rendered("s.by_client(m, table)", table=table)
        assert page.count("<th ") == 3 and page.count("<tr>") == 1 + number
        assert 'class="scroll"' in page  # a narrow window scrolls the table, not the page


def test_methods_stand_below_each_other():
    page = by_line(methods_table({
        "a": {"mean": statistics(0.5, 1.0, missed=1)},
        "b": {"mean": statistics(0.6, 2.0), "heart": statistics(0.7, 1.0)},
        "c": {"mean": statistics(0.4, 3.0)},
    }))  # fmt: skip
    rows = re.findall(r"<tr><td>(.*?)</tr>", page)
    assert [row.split("<")[0] for row in rows] == ["a", "b", "c"]
    assert [row.count("best") for row in rows] == [0, 2, 0]
    assert methods_table({"a": {"mean": statistics(0.5, 1.0)}}, "heart") == []
