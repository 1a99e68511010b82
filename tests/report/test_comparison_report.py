from __future__ import annotations

import re

import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.metrics.score_tables import write_scores
from shared_components.report import write_comparison_report


def row(case: str, name: str, dice: float) -> dict[str, object]:
    numbers = {"hd95_mm": 2.0, "hd_mm": 3.0, "predicted_ml": 1.0, "reference_ml": 1.0}
    return {"case": case, "label": 1 if name == "heart" else 2, "name": name, "dice": dice} | numbers


def test_methods_stand_beside_each_other(tmp_path):
    for method, gain in (("ours", 0.1), ("theirs", 0.0)):
        dice = {("a", "heart"): 0.5, ("a", "lung"): 0.7, ("b", "heart"): 0.8, ("b", "lung"): 0.9 - 2.2 * gain}
        write_scores(
            [row(*key, value + gain) for key, value in dice.items()], tmp_path / method / "scores.csv"
        )
    Image.new("L", (6, 4)).save(tmp_path / "scores_1_heart.png")
    page = write_comparison_report(tmp_path).read_text(encoding="utf-8")
    assert "<b>2</b><span>methods" in page and "<b>2</b><span>cases" in page
    assert page.count("<img") == 1 and page.count("<h3>") == 2
    cases = page[page.index("Dice of each case") :]
    lines = re.findall(r"<tr><td>(\w)</td>(.*?)</tr>", cases)
    assert [case for case, _ in lines] == ["a", "b"]
    assert re.findall(r"\"(.*?)\">(0\.\d+)", lines[0][1]) == [("number best", "0.700"), ("number", "0.600")]
    assert re.findall(r"\"(.*?)\">(0\.\d+)", lines[1][1]) == [("number", "0.840"), ("number best", "0.850")]
    assert 'href="ours/scores.csv"' in page


def test_no_scores_is_an_error(tmp_path):
    with pytest.raises(InputError, match="expected scores of several methods, found none"):
        write_comparison_report(tmp_path)
