from __future__ import annotations

import csv
import io

import pytest

from shared_components.csv_tables import table_rows, table_text
from shared_components.federation.rounds_log import RoundsCsv, read_rows
from shared_components.metrics.score_tables import read_scores, write_scores

FORMULAS = ("=1+1", "+SUM(A1)", "-x", "@now", "=cmd|' /C calc'!A0", "\t=1", "-", "--1", "+1_0", "- 1")


@pytest.mark.parametrize(
    "text", [*FORMULAS, "'=1", "''@a", "'", "it's", "a,b", 'a "b"', "two\nlines", "", "ä=1"]
)
def test_texts_come_back_as_they_were_written(text):
    written = table_text(["name", "=column"], [{"name": text, "=column": 1}])
    assert table_rows(written) == [{"name": text, "=column": "1"}]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_as_a_formula(text):
    cells = [cell for row in csv.reader(io.StringIO(table_text([text], [{text: text}]))) for cell in row]
    assert cells == [f"'{text}"] * 2


@pytest.mark.parametrize("number", ["-1", "-0.25", "+3", "-1.5e-07", "-inf", "nan", "-.5", -2, -1e-9])
def test_numbers_stay_numbers(number):
    assert table_text(["n"], [{"n": number}]) == f"n\n{number}\n"


def test_a_row_may_lack_a_cell_and_have_no_unknown_one():
    assert table_text(["a", "b"], [{"b": 1}], head=False) == ",1\n"
    with pytest.raises(ValueError, match="not in fieldnames"):
        table_text(["a"], [{"c": 1}])


def test_tables_of_scores_and_rounds_hold_no_formula(tmp_path):
    scores = {"dice": -0.5, "hd95_mm": 1.0, "hd_mm": 2.0, "predicted_ml": 1.0, "reference_ml": 1.0}
    rows = [{"case": "=HYPERLINK(1)", "label": 1, "name": "@brain", **scores}]
    text = write_scores(rows, tmp_path / "scores.csv").read_text()
    assert "\n'=HYPERLINK(1),1,'@brain,-0.5,1,2," in text
    assert read_scores(tmp_path / "scores.csv") == rows

    row = {
        "round": 1,
        "client": "-north",
        "images": 2,
        "seconds": 1.5,
        "bytes_up": 3,
        "bytes_down": 4,
        "loss": -0.5,
    }
    RoundsCsv(tmp_path / "rounds.csv", last_round=0).append([row])
    assert (
        (tmp_path / "rounds.csv").read_text().splitlines()[1].startswith("1,'-north,2,1.5,3,4,,,,-0.5,crc32:")
    )
    assert read_rows(tmp_path / "rounds.csv") == [{key: str(value) for key, value in row.items()}]


def test_a_text_of_many_digits_is_read_at_once():
    text = "-" + "1" * 100_000 + "x"  # two minutes where each digit is tried as the end of the whole part
    assert table_rows(table_text([text], [{text: text}])) == [{text: text}]
