from __future__ import annotations

import math

import pytest

from shared_components.benchmarks.comparison import (
    Comparison,
    class_table,
    pooled,
    score_table,
    seed_figure,
    write_differences,
)
from shared_components.metrics.subject_scores import SubjectScore
from shared_components.records import read_table

METHODS = ("plain", "ours")


def comparison() -> Comparison:
    """Ours is 0.1 better in white and equal in grey matter, at two clients and three seeds; plain also at a third."""
    scores = [
        SubjectScore(seed, client, method, "s", name, 0.5 + 0.01 * seed + more, 2.0)
        for seed in range(3)
        for client in ("a", "b", "c")
        for method in METHODS
        for name, more in (("white", 0.1 if method == "ours" else 0.0), ("grey", 0.0))
        if (client, method) != ("c", "ours")
    ]
    return Comparison(scores, METHODS, ("a", "b", "c"), "ours")


def line(table: str, method: str) -> list[str]:
    row = next(row for row in table.splitlines() if row.startswith(f"| {method} |"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_difference_tells_at_how_many_clients_it_is():
    table = score_table(comparison(), "Dice")
    assert line(table, "plain") == [*["0.510 ± 0.010"] * 4, "**-0.050 [-0.050, -0.050]** (of 2 of 3)"]
    assert line(table, "ours") == ["0.560 ± 0.010", "0.560 ± 0.010", "–", "–", "–"]


def test_classes_apart():
    table = class_table(comparison(), "Dice")
    assert line(table, "plain")[1::2] == [
        "**-0.100 [-0.100, -0.100]** (of 2 of 3)",
        "+0.000 [+0.000, +0.000] (of 2 of 3)",
    ]
    assert line(table, "plain")[::2] == ["0.510 ± 0.010"] * 2


def test_what_misses_a_class_is_not_nearer_for_it():
    """White matter is 1 mm farther by plain, which never finds grey matter, 20 mm off by ours."""
    found = {
        ("ours", "white"): 2.0,
        ("ours", "grey"): 20.0,
        ("plain", "white"): 3.0,
        ("plain", "grey"): math.nan,
    }
    scores = [SubjectScore(s, "a", m, "s", c, 0.5, mm) for s in range(3) for (m, c), mm in found.items()]
    comparison = Comparison(scores, METHODS, ("a",), "ours")
    assert comparison.difference("plain", "hd95_mm") == (1.0, 1.0, 1.0, 3, 1)
    assert comparison.difference("plain", "hd95_mm", "grey") is None


def test_a_subject_of_several_variants_stays_one():
    """Differences of 0 and 1 of two subjects of a seed, the same in every variant."""
    scores = [
        SubjectScore(0, "a", method, case, "x", 0.5 * (method == "plain") * number, 2.0)
        for method in METHODS
        for number, case in enumerate("st")
    ]
    one = Comparison(scores, METHODS, ("a",), "ours")
    several = pooled(dict.fromkeys(("t1", "t2", "pet"), one))
    assert several.difference("plain") == one.difference("plain") == (0.25, 0.0, 0.5, 1, 1)
    assert len(several.values("ours")) == 6 and {score.variant for score in several.scores} == {
        "t1",
        "t2",
        "pet",
    }


def test_all_differences_as_a_table(tmp_path):
    rows = read_table(write_differences(comparison(), tmp_path / "d.csv"), "")
    assert {row["method"] for row in rows} == {"plain"} and {row["client"] for row in rows} == {
        "mean",
        "a",
        "b",
    }
    (white,) = (r for r in rows if (r["client"], r["class"], r["measure"]) == ("a", "white", "dice"))
    numbers = [float(white[key]) for key in ("difference", "low", "high", "seeds", "clients")]
    assert numbers == pytest.approx([-0.1, -0.1, -0.1, 3, 1])


def test_picture_has_a_point_a_seed():
    figure = seed_figure(comparison())
    titles = [axis.get_title("left") for axis in figure.axes]
    assert titles == ["mean", "a", "b", "c"]
    points = [[len(c.get_offsets()) for c in axis.collections] for axis in figure.axes]
    assert points == [[3, 0], [3, 3], [3, 3], [3, 0]]
    assert figure.axes[1].collections[1].get_offsets()[:, 0].tolist() == pytest.approx([0.55, 0.56, 0.57])
