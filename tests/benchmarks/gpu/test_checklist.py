from __future__ import annotations

import csv
import time

import torch

from shared_components.benchmarks.gpu.checklist import Checklist, Step
from shared_components.benchmarks.gpu.place import Place, Row


def good(place):
    print("what a step prints is kept")
    yield Row("first", 1.5, 0.25)
    yield Row("second", remark="as expected")


def broken(place):
    yield Row("before")
    raise RuntimeError("no kernel\nfor this device")


def endless(place):
    while True:
        time.sleep(0.01)
        yield from ()


def disagreeing(place):
    yield Row("outputs", remark="0.3 apart", well=False)


def test_failures_are_lines_and_stop_nothing(tmp_path, capsys):
    place = Place(torch.device("cpu"), tmp_path, smoke=True)
    works = {"broken": broken, "endless": endless, "disagreeing": disagreeing, "good": good}
    assert not Checklist(place).run([Step(name, work, 0.3) for name, work in works.items()], seconds=60)
    rows = list(csv.DictReader((tmp_path / "gpu_check.csv").open()))
    assert [(row["step"], row["what"], row["result"]) for row in rows] == [
        ("broken", "before", "ok"),
        ("broken", "ended early", "FAILED"),
        ("endless", "ended early", "FAILED"),
        ("disagreeing", "outputs", "FAILED"),
        ("good", "first", "ok"),
        ("good", "second", "ok"),
    ]
    assert rows[1]["remark"] == "RuntimeError: no kernel for this device"
    assert rows[2]["remark"].startswith("OutOfTime: longer than")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["ok       good: first, 1.5 s, 0.25 GB", "ok       good: second, as expected"]
    output = (tmp_path / "output.txt").read_text()
    assert "what a step prints is kept" in output and "Traceback" in output
    assert (tmp_path / "gpu_check.md").read_text().count("\n| ") == len(rows)


def test_all_well_and_no_time_left(tmp_path):
    place = Place(torch.device("cpu"), tmp_path, smoke=True)
    assert Checklist(place).run([Step("good", good, 10)], seconds=60)
    assert not Checklist(place).run([Step("good", good, 10)], seconds=1)
    assert "left out" in (tmp_path / "gpu_check.md").read_text()
