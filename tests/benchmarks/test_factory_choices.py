from __future__ import annotations

import pytest

from scripts.benchmark import factory
from shared_components.benchmarks import BUNDLES
from shared_components.benchmarks.factory_rows import ROWS, federation_values, row_text
from shared_components.errors import InputError
from shared_components.federation.federation_file import federation_from

CLIENTS = {"a": "A", "b": "B", "c": "C", "d": "D"}


@pytest.mark.parametrize("key", ROWS)
def test_every_way_trains_as_many_updates_in_total(key, tmp_path, monkeypatch):
    values = federation_values(ROWS[key], CLIENTS, 120, "A")
    drawn = values.get("clients_per_round", len(values["clients"]))
    total = 120 * (1 if ROWS[key].share else len(CLIENTS))
    assert values["rounds"] * values["updates_per_round"] * drawn == total
    grown = total / drawn * (1 / 2 if key.endswith("grown") else 1 / 8)
    assert values["overrides"]["growth"] in ({}, {2: grown})  # the generator counts those of every round
    monkeypatch.chdir(tmp_path)
    for root in CLIENTS.values():
        (tmp_path / root).mkdir()
    more = {"bundle": str(BUNDLES / "factory"), "domains": list(CLIENTS), "output_dir": "out"}
    federation_from({**more, **values}, tmp_path / "file.yaml")


@pytest.mark.parametrize(
    ("key", "updates", "lengths", "said"),
    [
        ("rare", 12, (1, 12), " (1 round of 12 updates, 12 a client)"),
        ("default", 100, (17, 6), " (17 rounds of 6 updates, 102 a client)"),
        ("half", 9, (3, 6), ""),
        ("joint", 5, (1, 20), " (1 round of 5 updates, 5 a client)"),
    ],
)
def test_rounds_come_as_near_to_the_updates_as_they_can(key, updates, lengths, said):
    values = federation_values(ROWS[key], CLIENTS, updates)
    assert (values["rounds"], values["updates_per_round"]) == lengths
    assert row_text(ROWS[key], len(CLIENTS), updates) == ROWS[key].text + said


@pytest.mark.thorough
def test_a_way_is_run_once_and_stands_in_the_table(tmp_path, capsys):
    factory("head", output_dir=str(tmp_path), rows="joint", smoke=True)
    table = capsys.readouterr().out.splitlines()
    head = next(line for line in table if line.startswith("| way"))
    joint = next(line for line in table if line.startswith("| all images in one place"))
    cells = dict(zip(head.split("|"), joint.split("|"), strict=True))
    assert cells[" of joint "] == " 1.00 " and float(cells[" MB "]) >= 0
    assert all(float(cells[f" {name} "]) > 0 for name in ("Fréchet distance", "floor", "path length"))
    assert all(0 <= float(cells[name]) <= 1 for name in (" twins' Dice ", " of all classes as one "))
    result = tmp_path / "factory/head_smoke/joint_32px_12_seed0/result.json"
    before = result.stat().st_mtime_ns
    factory("head", output_dir=str(tmp_path), rows="joint,default", smoke=True, report_only=True)
    assert result.stat().st_mtime_ns == before
    assert "federated, as the bundle does it" not in capsys.readouterr().out


def test_reporting_makes_nothing(tmp_path):
    with pytest.raises(InputError, match="holds none of these runs; run without --report_only"):
        factory("head", output_dir=str(tmp_path), rows="joint", report_only=True)
    assert not any(tmp_path.iterdir())


def test_faults_are_told(tmp_path):
    with pytest.raises(InputError, match="scenario: expected one of head, spine, found 'knee'"):
        factory("knee", output_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"rows: expected some of default, .* found best"):
        factory("head", output_dir=str(tmp_path), rows="best")
