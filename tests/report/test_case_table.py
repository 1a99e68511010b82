from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from shared_components.report.case_table import case_table, rows_of
from shared_components.report.case_volumes import Measures
from tests.report.rendered import rendered

LABELS = {1: "heart", 2: "lung"}


def row(case, name, dice=0.5, hd95=2.0, reference=10.0):
    return {"case": case, "name": name, "dice": dice, "hd95_mm": hd95, "reference_ml": reference}


def measures(*millilitres, frames=()):
    return Measures((4, 5, 6, *frames), (1.0, 1.25, 8.0), np.asarray(millilitres, float))


def table_of(cases, found, scores, page=Path("r.html"), anchors=None) -> str:
    """The table of some cases as a page has it."""
    made = case_table(cases, found, scores, LABELS, page, anchors or {})
    call = "c.case_table(m, cases, names, scored)"
    return rendered(call, cases=made, names=list(LABELS.values()), scored=bool(scores))


def cells(page: str) -> list[list[str]]:
    lines = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[1])
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td.*?</td>", line)] for line in lines]


def test_volumes_grid_and_links_of_each_case(tmp_path):
    (tmp_path / "a b_seg.nii.gz").write_text("")
    cases = [
        {"case": "a b", "segmentation": str(tmp_path / "a b_seg.nii.gz"), "image": str(tmp_path / "gone.nii")}
    ]
    page = table_of(cases, {"a b": measures([1.26, 0])}, [], tmp_path / "r.html", {"a b": "case-1"})
    assert cells(page) == [["a b", "image result ", "4×5×61×1.25×8 mm", "1.3", "0.0"]]
    assert '<a href="#case-1">a b</a>' in page and '<a href="a%20b_seg.nii.gz">result</a>' in page
    assert "gone.nii" not in page and "Dice" not in page and "warn" not in page


def test_scores_stand_with_the_classes_and_over_them():
    cases = [{"case": name, "segmentation": "s"} for name in ("a", "b")]
    scores = [
        row("a", "heart", 0.9, 1.0),
        row("a", "lung", 0.7, 3.0),
        row("b", "heart", 0.0, math.nan),
        row("b", "lung", 0.8),
    ]
    found = {"a": measures([9, 8]), "b": measures([0, 8])}
    page = table_of(cases, found, scores)
    assert page.index("Mean over classes") < page.index("HD95, mm")
    first, second, last = cells(page)
    assert first[3:] == ["9.0 / 10.0Dice 0.900", "8.0 / 10.0Dice 0.700", "0.800", "2.0"]
    assert second[3:] == ["0.0 / 10.0Dice 0.000", "8.0 / 10.0Dice 0.800", "0.400", "–"]
    assert last[3:] == ["4.5 ± 6.4Dice 0.450", "8.0 ± 0.0Dice 0.750", "0.600 ± 0.283", "2.0"]
    assert page.count("number warn") == 1  # a class that the experts saw and the segmentation has not


def test_a_time_series_has_its_least_and_most_and_the_mean_of_its_frames():
    scores = [
        row("s_t00", "heart", 0.9),
        row("s_t07", "heart", 0.7),
        row("s_t00", "lung"),
        row("sx", "heart", 0.1),
    ]
    found = {"s": measures([5, 1], [3, 1], frames=(2,))}
    page = table_of([{"case": "s", "segmentation": "s"}], found, scores)
    (line,) = cells(page)
    assert line[2:5] == ["4×5×6×21×1.25×8 mm", "3.0–5.0Dice 0.800", "1.0–1.0 / 10.0Dice 0.500"]
    assert len(rows_of("s", scores)) == 3


def test_cases_that_were_not_measured_are_left_out():
    cases = [{"case": name, "segmentation": "s"} for name in ("a", "b")]
    assert len(cells(table_of(cases, {"b": measures([1, 1])}, []))) == 1
