from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.federation.rounds_log import RoundsCsv, read_rows, released, round_line


def row(round, client="a", **metrics):
    return {
        "round": round,
        "client": client,
        "images": 2,
        "seconds": 0.5,
        "bytes_up": 8,
        "bytes_down": 8,
        **metrics,
    }


def test_new_metrics_get_columns(tmp_path):
    table = RoundsCsv(tmp_path / "rounds.csv", 0)
    table.append([row(1, loss=1.0)])
    table.append([row(2, loss=0.5, r1=0.25)])
    table.append([row(3, loss=0.1)])
    assert (
        (tmp_path / "rounds.csv")
        .read_text()
        .splitlines()[0]
        .endswith("left_out,released,epsilon,loss,r1,check")
    )
    assert [(r["loss"], r.get("r1")) for r in read_rows(tmp_path / "rounds.csv")] == [
        ("1.0", None),
        ("0.5", "0.25"),
        ("0.1", None),
    ]


def test_rows_after_the_last_whole_round_are_dropped(tmp_path):
    table = RoundsCsv(tmp_path / "rounds.csv", 0)
    for number in (1, 2, 3):
        table.append([row(number, "a", loss=1.0), row(number, "b", loss=2.0)])
    again = RoundsCsv(tmp_path / "rounds.csv", 2)
    again.append([row(3, "a", loss=9.0)])
    rows = read_rows(tmp_path / "rounds.csv")
    assert [r["round"] for r in rows] == ["1", "1", "2", "2", "3"]
    assert [r["loss"] for r in rows] == ["1.0", "2.0", "1.0", "2.0", "9.0"]


def test_line_weights_losses_by_images():
    rows = [{**row(2, "a", loss=1.0), "images": 1}, {**row(2, "b", loss=5.0, r1=0.5), "images": 3}]
    line = round_line(2, 9, rows)
    assert line == "round 2/9 | loss 4.000  r1 0.500 | 2 clients | 0.0 MB up, 0.0 MB down"


def test_line_and_table_tell_the_largest_epsilon_and_how_many_updates_have_left_each_client(tmp_path):
    rows = [row(2, "a", released=3, epsilon=3.09, loss=1.0), row(2, "b", released=2, epsilon=2.5, loss=1.0)]
    assert round_line(2, 9, rows, delta=1e-5).endswith("0.0 MB down | epsilon up to 3.09 at delta 1e-05")
    assert "loss 1.000 |" in round_line(2, 9, rows, delta=1e-5)
    table = RoundsCsv(tmp_path / "rounds.csv", 0)
    table.append([row(1, "a", released=1, epsilon=1.5), row(1, "c")])
    table.append(rows)
    assert released(table.path) == {"a": 3, "b": 2}


def test_a_count_that_begins_anew_is_added_to_the_one_before(tmp_path):
    """Of a client whose folder was lost, and with it its own count."""
    table = RoundsCsv(tmp_path / "rounds.csv", 0)
    for number, count in enumerate((1, 2, 4, 1, 2), 1):
        table.append(
            [row(number, "a", released=count, epsilon=1.5), row(number, "b", released=number, epsilon=1.5)]
        )
    assert released(table.path) == {"a": 6, "b": 5}


def test_a_table_that_does_not_say_what_has_left_is_told(tmp_path):
    table = RoundsCsv(tmp_path / "rounds.csv", 0)
    table.append([row(1, "a", epsilon=1.5)])
    with pytest.raises(InputError, match=r"rounds\.csv: expected a column 'released', found none"):
        released(table.path)
