from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared_components.errors import InputError
from shared_components.federation.budget import Budget
from shared_components.federation.client_entry import Demand
from shared_components.federation.federation import client_plan
from shared_components.federation.sent_record import SentRecord
from shared_components.records import read_table
from tests.federation.tiny import federation

TRAIN = {
    "job": "7",
    "task": "train",
    "tensors": 5,
    "files": "",
    "values": "images, seconds",
    "epsilon": "1.5",
}


@pytest.fixture
def plan(values, tmp_path):
    noisy = federation(values, exchange={"dtype": "float16"}, privacy={"clip": 0.5, "noise": 4})
    return client_plan(noisy, "north", Demand(max_norm=1.0), str(tmp_path / "spent.json"))


def test_answers_are_rows_and_the_page_sums_them_up(plan, tmp_path):
    record = SentRecord(tmp_path / "north")
    record.enter(job="7", task="check", tensors=0, bytes=0, values="problems")
    for number in (1, 3):
        Budget(plan.budget).enter(4.0, None)
        record.enter(**TRAIN, about=number, bytes=2000)
    record.sum_up("tiny", plan)
    rows = read_table(record.table, "")
    assert [(row["task"], row["about"], row["bytes"]) for row in rows] == [
        ("check", "", "0"), ("train", "1", "2000"), ("train", "3", "2000")
    ]  # fmt: skip
    lines = record.page.read_text().splitlines()
    assert lines[0] == "# What has left north for the federation tiny"
    told = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    assert told == [
        "updates to 2 rounds, the last of round 3",
        "each as differences, in float16",
        "clipped to an L2 norm of 0.5, with noise of 4 times that",
        "this site demands max_norm 1.0, delta 1e-05, losses False",
        "epsilon 1.5 at delta 1e-05 for this federation",
        f"epsilon {Budget(plan.budget).epsilon(1e-5):.6g} at delta 1e-05 for all federations of this site together",
    ]
    assert lines[-2:] == [
        "| check | 1 | 0 | 0 B | none | problems |",
        "| train | 2 | 10 | 4.0 kB | none | images, seconds |",
    ]


def test_a_row_of_a_round_that_cannot_be_stops_no_page(plan, tmp_path):
    record = SentRecord(tmp_path / "north")
    record.enter(**TRAIN, about="x/../../PWNED", bytes=1)
    record.enter(**{**TRAIN, "values": "failure"}, about=9, bytes=1)
    record.enter(**TRAIN, about=2, bytes=1)
    record.sum_up("tiny", plan)
    assert "- updates to 1 round, the last of round 2\n" in record.page.read_text()


def test_a_damaged_table_lets_nothing_leave(tmp_path):
    record = SentRecord(tmp_path)
    record.enter(**TRAIN, about=1, bytes=2000)
    record.table.write_text(record.table.read_text().replace("2000", "1000"))
    with pytest.raises(
        InputError, match=r"sent\.csv: is damaged or was edited.*move it away, and a new one is begun"
    ):
        record.enter(**TRAIN, about=2, bytes=2000)


def test_answers_that_leave_at_once_are_all_entered(tmp_path):
    """Statistics and a training of one site, each with a record of its own of the same table."""

    def answer(job: int) -> None:
        record = SentRecord(tmp_path / "north")
        for number in range(20):
            record.enter(**{**TRAIN, "job": job}, about=number, bytes=1)

    with ThreadPoolExecutor() as jobs:
        list(jobs.map(answer, range(3)))
    assert len(read_table(tmp_path / "north" / "sent.csv", "")) == 60
