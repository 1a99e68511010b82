from __future__ import annotations

import csv
import io
import json

import pytest
import yaml

from shared_components.errors import InputError
from shared_components.federation.rounds_log import RoundsCsv, read_rows
from shared_components.files import write_text
from shared_components.metrics.score_files import read_scores, write_scores
from shared_components.records import (
    found_record,
    read_record,
    read_table,
    table_rows,
    table_text,
    write_record,
    write_table,
)
from shared_components.seals import BLANK, seal
from tests.test_files import flipped

CONTENT = {"name": "näher", "seconds": 1.25, "clients": {"north": ["t1"]}, "none": None}
ROWS = [{"case": "s1", "dice": "0.5"}, {"case": 'a "quoted",\nname', "dice": "0.25"}, {"case": "s3"}]


@pytest.mark.parametrize("name", ["done.json", "federation.yaml"])
def test_a_record_comes_back_and_others_can_read_it(tmp_path, name):
    path = write_record(tmp_path / name, CONTENT)
    assert read_record(path, "") == found_record(path) == CONTENT
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {key: value for key, value in plain.items() if key != "sha256"} == CONTENT


@pytest.mark.parametrize("name", ["done.json", "federation.yaml"])
@pytest.mark.parametrize("sealed", [True, False])
def test_every_flipped_byte_of_a_record_is_refused(tmp_path, name, sealed):
    path = write_record(tmp_path / name, CONTENT)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(InputError, match=rf"{name}: .*; start over with --force$") as caught:
            read_record(path, "start over with --force", sealed)
        assert "\n" not in str(caught.value)
        assert found_record(path) is None


def test_a_record_cut_short_or_missing_is_refused_where_the_seal_is_needed(tmp_path):
    path = write_record(tmp_path / "federation.yaml", CONTENT)
    whole = path.read_bytes()
    for end in (0, 1, 17, whole.rindex(b"#"), len(whole) - 1):
        path.write_bytes(whole[:end])
        assert found_record(path) is None
    assert found_record(tmp_path / "gone.json") is None
    with pytest.raises(InputError, match=r"gone\.json: expected a text file, found no file; run it$"):
        read_record(tmp_path / "gone.json", "run it")


@pytest.mark.parametrize("link", ["[*a{0}, *a{0}]", "{{<<: [*a{0}, *a{0}]}}"])
def test_aliases_that_unfold_without_end_are_refused_at_once(tmp_path, link):
    lines = ["a0: &a0 {k: v}", *(f"a{n + 1}: &a{n + 1} {link.format(n)}" for n in range(30))]
    path = write_text(tmp_path / "bundle.yaml", seal("\n".join([*lines, f"# sha256: {BLANK}\n"])))
    with pytest.raises(
        InputError, match=r"bundle\.yaml: is damaged \(.*(each alias written out|<<).*\); copy"
    ):
        read_record(path, "copy it again", sealed=True)


def test_a_list_that_stands_in_many_places_comes_back(tmp_path):
    content = {"names": [["north", "south"]] * 300, "<<": "a text"}
    assert read_record(write_record(tmp_path / "federation.yaml", content), "") == content


def test_who_removes_the_seal_may_edit_a_record(tmp_path):
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"name": "mine"}))
    assert read_record(path, "") == {"name": "mine"}
    with pytest.raises(InputError, match="expected its own checksum, found none; run it"):
        read_record(path, "run it", sealed=True)
    write_record(path, CONTENT)
    path.write_text(path.read_text(encoding="utf-8").replace("1.25", "1.5"), encoding="utf-8")
    with pytest.raises(InputError, match="is damaged or was edited"):
        read_record(path, "")
    path.write_text("[1]")
    with pytest.raises(InputError, match="expected names and values, found list"):
        read_record(path, "")


def test_a_table_comes_back_and_others_can_read_it(tmp_path):
    path = write_table(tmp_path / "scores.csv", ("case", "dice"), ROWS)
    assert read_table(path, "") == [*ROWS[:2], {"case": "s3", "dice": ""}]
    with path.open(newline="", encoding="utf-8") as file:
        plain = list(csv.DictReader(file))
    assert list(plain[0]) == ["case", "dice", "check"]
    assert [row["case"] for row in plain] == [row["case"] for row in ROWS]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_every_flipped_byte_of_a_table_is_refused(tmp_path, rows):
    path = write_table(tmp_path / "scores.csv", ("case", "dice"), rows)
    whole = path.read_bytes()
    for damaged in (*flipped(whole, 300), whole[:-1], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"scores\.csv: .*; evaluate again$"):
            read_table(path, "evaluate again")


def test_a_table_without_checksums_is_read_as_it_is(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("case,dice\ns1,0.5\n")
    assert read_table(path, "") == [{"case": "s1", "dice": "0.5"}]


def test_a_table_of_others_with_a_column_of_that_name_is_refused_at_once(tmp_path):
    path = tmp_path / "theirs.csv"
    # 40 minutes if searched from each place
    path.write_text("case,check\n" + "a,b\n" * 300_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"its rows do not fit their checksums; take it away$"):
        read_table(path, "take it away")


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
        (tmp_path / "rounds.csv")
        .read_text()
        .splitlines()[1]
        .startswith("1,'-north,2,1.5,3,4,,,,,-0.5,crc32:")
    )
    assert read_rows(tmp_path / "rounds.csv") == [{key: str(value) for key, value in row.items()}]


def test_a_text_of_many_digits_is_read_at_once():
    text = "-" + "1" * 100_000 + "x"  # two minutes where each digit is tried as the end of the whole part
    assert table_rows(table_text([text], [{text: text}])) == [{text: text}]
