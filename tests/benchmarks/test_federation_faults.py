from __future__ import annotations

from collections import Counter

import pytest
import torch
import yaml
from ignite.engine import Engine

from shared_components.benchmarks import fault_handler
from shared_components.benchmarks.fault_handler import Misbehave
from shared_components.benchmarks.fault_outcome import KeptOutcomes, Outcome, outcome_table
from shared_components.benchmarks.faults import inject_faults
from shared_components.benchmarks.faulty_federation import FaultyFederation
from shared_components.benchmarks.federation_faults import (
    CLIENT_FAULTS,
    ROUNDS,
    SITE_FAULT,
    federation_faults,
)
from shared_components.errors import InputError
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.federation_file import read_federation


def trained(folder, plan: list[str]) -> list[torch.Tensor]:
    """What a client's network holds after each of three rounds of nothing."""
    network = torch.nn.Module()
    network.generator = torch.nn.Module()
    network.generator.constant = torch.nn.Parameter(torch.ones(1, 2, 1, 1))
    engine, seen = Engine(lambda engine, batch: None), []
    engine.network = network
    Misbehave(plan, str(folder)).attach(engine)
    for round in range(3):
        engine.run([0], max_epochs=round + 1)
        seen.append(network.generator.constant.detach().clone())
    return seen


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("nan", torch.nan), ("huge", 1e6), ("shape", torch.ones(1, 1, 1, 1)), ("slow", 1.0)],
)
def test_a_client_misbehaves_in_its_round_alone_and_once(tmp_path, monkeypatch, kind, expected):
    monkeypatch.setattr(fault_handler, "NEVER", 0.01)
    plan = ["1 south error", f"2 north {kind}"]
    (tmp_path / "north").mkdir()
    first, second, _ = trained(tmp_path / "north", plan)
    assert torch.equal(first, torch.ones(1, 2, 1, 1))
    shape = expected.shape if isinstance(expected, torch.Tensor) else first.shape
    assert torch.allclose(second, torch.as_tensor(expected).expand(shape), equal_nan=True)
    assert all(torch.equal(tensor, first) for tensor in trained(tmp_path / "north", plan))


def test_own_rounds_are_those_in_which_a_client_was_not_left_out():
    left_out: Counter[str] = Counter()
    for fault in (*CLIENT_FAULTS, SITE_FAULT):
        assert fault.own == fault.round - left_out[fault.client], fault
        left_out[fault.client] += 1
    assert (SITE_FAULT.client, SITE_FAULT.round) == ("island", ROUNDS)  # then another writes the deliverable


def test_the_bundle_is_the_factory_with_the_handler_at_its_end(tmp_path):
    made = FaultyFederation(tmp_path / "run", tmp_path / "data", "local", 4, ["2 north nan"])
    values = yaml.safe_load(made.file.read_text())
    for client in values["clients"].values():
        (tmp_path / "data" / client["domain"]).mkdir(parents=True)
    config = bundle_config(read_federation(made.file))
    *others, last = config["train"]["handlers"]
    assert last["_target_"] == "fault_handler.Misbehave" and len(others) > 3
    assert config["misbehave"] == ["2 north nan"]
    assert made.whole_rounds() == -1 and made.left_out() == {}


def test_a_client_that_is_gone_fails_again_and_again(tmp_path):
    (tmp_path / "north").mkdir()
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            trained(tmp_path / "north", ["2 north gone"])


def test_the_table_says_what_was_lost_and_told():
    rows = [Outcome("kill", 2, "all"), Outcome("disk", 1, "round 1", ("round 2", "a file"), "nvflare", "a|b")]
    assert outcome_table(rows).splitlines()[2:] == [
        "| kill | local | 2 | all | nothing |  |",
        "| disk | nvflare | 1 | round 1 | round 2; a file | a/b |",
    ]
    assert str(rows[1]).splitlines()[1:] == ["  told: a|b", "  lost: round 2", "  lost: a file"]


def test_a_fault_that_is_tried_again_replaces_its_own_rows_alone(tmp_path):
    first, second = Outcome("kill", 1, "all"), Outcome("disk", 1, "", ("round 2",))
    kept = KeptOutcomes(tmp_path / "outcomes.json")
    kept.put("clients local", [first, second])
    kept.put("disk local", [second])
    kept = KeptOutcomes(tmp_path / "outcomes.json")
    kept.put("clients local", [first])
    kept = KeptOutcomes(tmp_path / "outcomes.json")
    assert kept.of(["clients local", "state local", "disk local"]) == [first, second]


def test_a_group_that_cannot_run_is_an_outcome(tmp_path, capsys):
    """Without data the run ends with code 2."""
    (outcome,) = federation_faults(tmp_path / "federation", tmp_path / "data", "model", "local")
    assert outcome.engine == "local" and "a run without a fault failed: code 2: " in outcome.lost[0]
    assert "group model" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes", [{"parts": ["both"]}, {"engines": ["flower"]}, {"only": ["clients", "earthquake"]}]
)
def test_unknown_names_are_refused_before_anything_runs(tmp_path, changes):
    with pytest.raises(InputError, match=r"expected some of .*, found '(both|flower|earthquake)'"):
        inject_faults(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []
