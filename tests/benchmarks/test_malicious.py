from __future__ import annotations

import pytest
import torch

from shared_components.benchmarks.malicious import (
    ATTACKS,
    MAKERS,
    SMOKE,
    Hospitals,
    malicious_benchmark,
    result_table,
)
from shared_components.federation import FedAvg, FedMedian
from shared_components.federation.aggregators.aggregation import l2_norm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark")


@pytest.mark.thorough
def test_table_of_the_smallest_size(folder):
    table = malicious_benchmark(folder, smoke=True)
    assert (folder / "malicious_smoke" / "malicious.md").read_text(encoding="utf-8") == table
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line
    ]
    assert lines[0][1:] == list(ATTACKS) and [line[0] for line in lines[2:]] == list(MAKERS)
    rows = {line[0]: [float(cell) for cell in line[1:]] for line in lines[2:]}
    assert rows["FedAvg"][0] == 1.0 and rows["FedAvg"][1] > 100
    robust = [row for name, row in rows.items() if name != "FedAvg"]
    assert all(row[1] == pytest.approx(1, abs=0.05) for row in robust)
    assert rows["MultiKrum, odd 1"][2] < rows["FedAvg"][2]


def test_every_training_begins_at_the_same_point(folder):
    hospitals = Hospitals(folder / "malicious_smoke", SMOKE)
    losses = [hospitals.train(FedMedian(), ATTACKS["random, 10-fold"]) for _ in range(2)]
    assert losses[0] == losses[1] < hospitals.loss(hospitals.start)
    assert hospitals.train(FedAvg(), ATTACKS["none"]) != losses[0]


def test_what_the_malicious_client_sends():
    start = {"w": torch.ones(100, 3), "b": torch.zeros(3)}
    sent = {"w": torch.full((100, 3), 1.5), "b": torch.full((3,), 0.5)}
    spoilt = {name: attack(sent, start, torch.Generator().manual_seed(0)) for name, attack in ATTACKS.items()}
    assert all(torch.equal(spoilt["none"][name], sent[name]) for name in sent)
    assert spoilt["10⁶-fold"]["b"].tolist() == [5e5] * 3
    assert spoilt["sign flipped, 10-fold"]["w"][0].tolist() == [-4.0] * 3
    lengths = {name: l2_norm(made, start) / l2_norm(sent, start) for name, made in spoilt.items()}
    assert lengths == pytest.approx(
        {"none": 1, "10⁶-fold": 1e6, "sign flipped, 10-fold": 10, "random, 10-fold": 10}
    )
    assert abs((spoilt["random, 10-fold"]["w"] - 1).mean()) < 1


def test_a_training_that_diverged_is_said_to_have():
    ends = {"FedAvg": {"none": 0.5, "random": None}, "FedMedian": {"none": 0.51, "random": 21.0}}
    table = result_table(ends, 2.0)
    assert "| FedAvg | 1.000 | diverged |" in table and "| FedMedian | 1.020 | 42 |" in table
    assert "Clean FedAvg ends at 0.500; untrained 2.000, 4.0 times that." in table
