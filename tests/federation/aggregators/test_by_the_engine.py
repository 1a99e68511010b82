"""The aggregators that act at the coordinator, in federations by the local engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared_components.federation.local import LocalEngine
from shared_components.files import load_tensors
from tests.federation.tiny import federation


def trained(values, name: str, **arguments) -> dict:
    """The global weights after two rounds by an aggregator of ours."""
    folder = Path(values["output_dir"]).parent / f"{name}{len(arguments)}"
    aggregator = {"_target_": f"shared_components.federation.{name}", **arguments}
    made = federation(values, rounds=2, aggregator=aggregator, output_dir=str(folder))
    return load_tensors(LocalEngine(made, quiet=True).run() / "global.pt")["model"]


def unequal(first, second) -> list[str]:
    assert first.keys() == second.keys() and first
    return [name for name in first if not torch.equal(first[name], second[name])]


@pytest.fixture
def plain(values):
    return trained(values, "FedAvg")


def test_limits_are_plain_averaging_bit_for_bit(values, plain):
    assert unequal(plain, trained(values, "FedAvgM", momentum=0)) == []
    assert unequal(plain, trained(values, "NormBounded", bound=1e9)) == []


def test_each_goes_its_own_way(values, plain):
    made = {
        "FedMedian": trained(values, "FedMedian"),
        "MultiKrum": trained(values, "MultiKrum"),
        "FedAvgM": trained(values, "FedAvgM"),
        "FedAdam": trained(values, "FedAdam", averaged=["model.0"]),
    }
    for name, weights in made.items():
        assert unequal(plain, weights), name
        assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())
    trimmed = trained(values, "TrimmedMean", beta=0.3)  # of three clients the one in the middle
    assert unequal(made["FedMedian"], trimmed) == []
