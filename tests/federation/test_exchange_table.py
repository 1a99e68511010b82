from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from shared_components.errors import InputError
from shared_components.federation import FedAvg, FedBN
from shared_components.federation.bundle_workflow import layout_of, shared_names
from shared_components.federation.coordinator import drawn_clients
from shared_components.federation.exchange_table import exchange_faults, exchange_table, rounds_of_clients
from shared_components.federation.privacy import spent
from shared_components.networks.condition import ConditionEmbedding, EncodedCondition
from tests.federation.tiny import federation

ONLY_FEDBN = {"_target_": "shared_components.federation.FedBN"}


class Network(nn.Module):
    """A generator of 3 tensors and 10 + 2 numbers, and two modules that may stay private."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(4, 2)
        self.generator.register_buffer("seen", torch.tensor([1, 2]))
        self.norm = nn.BatchNorm2d(3)
        self.judge = nn.ModuleList([nn.Linear(1, 1) for _ in range(2)])


def lines_of(federation, *modules, aggregator=None):
    layout = layout_of(Network(), modules or ["generator", "norm"], aggregator or FedAvg(), "b")
    return exchange_table(federation, layout).splitlines()


def test_each_module_is_told_with_its_size_and_types(values):
    lines = lines_of(federation(values, exchange={"down": "float32"}))
    assert [line.split() for line in lines[1:5]] == [
        ["module", "tensors", "numbers", "up", "down"],
        ["generator", "3", "12", "36", "B", "float16+int64", "56", "B", "float32+int64"],
        ["norm", "5", "13", "32", "B", "float16+int64", "56", "B", "float32+int64"],
        ["all", "8", "25", "68", "B", "float16+int64", "112", "B", "float32+int64"],
    ]
    assert len({len(line) for line in lines[1:5]}) == 1
    assert lines[5].strip() == (
        "up, how far its weights moved: seen by the coordinator; down, the global weights: seen by every client"
    )


def test_what_stays_is_named(values):
    lines = lines_of(federation(values))
    assert lines[6].endswith("the seconds it took, its losses")
    assert lines[7].strip() == "stays at the client: judge, optimisers, random state, images, labels"
    assert "without clipping or noise" in lines[8] and len(lines) == 9
    with_norms = lines_of(federation(values, aggregator=ONLY_FEDBN), aggregator=FedBN())
    assert with_norms[2].split()[:3] == ["generator.weight", "1", "8"]
    assert "stays at the client: norm, judge, optimisers" in with_norms[-2]
    many = layout_of(nn.ModuleList(nn.Linear(1, 1) for _ in range(20)), ["0"], FedAvg(), "b")
    assert ": 1, 2, 3, 4, 5, 6, 13 modules more, optimisers" in exchange_table(federation(values), many)


def test_epsilon_at_the_end_is_told(values):
    lines = lines_of(federation(values, privacy={"clip": 0.5, "noise": 20}), "generator")
    assert lines[-3].strip() == "each update is clipped to an L2 norm of 0.5 over all its floating tensors"
    assert lines[-2].endswith("noise of standard deviation 10 on every number")
    assert lines[-1].strip() == (
        f"epsilon {spent(20, 3, 1e-5):.3g} at delta 1e-05 for a client in all of 3 rounds, its data against any other"
    )
    assert not any("losses" in line for line in lines)
    weak = lines_of(federation(values, privacy={"clip": 1, "noise": 1, "losses": True}), "generator")
    assert weak[-1].endswith("; above about 10 that promises little") and any(
        "its losses" in line for line in weak
    )


def test_epsilon_of_clients_that_are_drawn(values):
    drawn = federation(values, privacy={"clip": 1, "noise": 9}, clients_per_round=1, rounds=20)
    rounds = rounds_of_clients(drawn)
    names = [drawn_clients(rounds, 1, 5, number)[0] for number in range(1, 21)]
    assert rounds == {name: names.count(name) for name in ("island", "north", "south")}
    low, high = min(rounds.values()), max(rounds.values())
    assert f"epsilon {spent(9, low, 1e-5):.3g} to {spent(9, high, 1e-5):.3g} at" in lines_of(drawn)[-1]
    assert f"drawn for {low} to {high} of 20 rounds" in lines_of(drawn)[-1]
    assert "more for one that also trains in the place of others that fail" in lines_of(drawn)[-1]
    assert set(rounds_of_clients(federation(values)).values()) == {3}


def test_clipping_alone_promises_nothing(values):
    lines = lines_of(federation(values, privacy={"clip": 1}))
    assert lines[-1].endswith("promises no privacy: no epsilon")


def test_noise_on_running_variances_is_refused(values):
    noisy = federation(values, privacy={"clip": 1, "noise": 1})
    shared = layout_of(Network(), [""], FedAvg(), "b")
    (fault,) = exchange_faults(noisy, shared)
    assert (
        "negative ('norm.running_var' and 0 more are exchanged); keep norms at the clients (aggregator FedBN)"
        in fault
    )
    assert exchange_faults(noisy, layout_of(Network(), [""], FedBN(), "b")) == []
    assert exchange_faults(federation(values, privacy={"clip": 1}), shared) == []
    assert exchange_faults(federation(values), shared) == []


def test_noise_on_semantic_encodings_is_refused(values):
    network = nn.Module()
    network.condition = EncodedCondition(2, 4, 8, encoding=3)
    layout = layout_of(network, [""], FedAvg(), "b")
    (fault,) = exchange_faults(federation(values, privacy={"clip": 1, "noise": 1}), layout)
    assert "drowns the semantic encodings of the domains ('condition.encodings' is exchanged)" in fault
    assert fault.endswith("semantic_condition: 0")  # a width
    assert exchange_faults(federation(values, privacy={"clip": 1}), layout) == []


@pytest.mark.parametrize("name", ["FedMedian", "TrimmedMean", "MultiKrum"])
def test_a_look_that_no_majority_has_is_refused_where_the_majority_rules(values, name):
    network = nn.Module()
    network.condition = ConditionEmbedding(2, 4, 8)
    layout = layout_of(network, [""], FedAvg(), "b")
    kind = {"_target_": f"shared_components.federation.{name}"}
    (fault,) = exchange_faults(federation(values, aggregator=kind), layout)
    assert re.search(rf"{name} leaves out .* the look of \w+, which 1 of 3 clients have", fault)
    assert (
        exchange_faults(federation(values, aggregator=kind), layout_of(Network(), [""], FedAvg(), "b")) == []
    )
    for other in ({"_target_": "shared_components.federation.NormBounded"}, None):
        assert exchange_faults(federation(values, aggregator=other), layout) == []


def test_exchanged_names_are_in_the_networks_order_and_unknown_modules_refused():
    network = Network()
    assert shared_names(network, ["judge.1", "generator"], FedAvg(), "b") == [
        "generator.weight",
        "generator.bias",
        "generator.seen",
        "judge.1.weight",
        "judge.1.bias",
    ]
    with pytest.raises(
        InputError, match=r"b: federation::shared names 'gen', .* its modules are generator, norm, judge"
    ):
        shared_names(network, ["gen"], FedAvg(), "b")
    layout = layout_of(network, ["generator"], FedAvg(), "b")
    assert all(tensor.is_meta for tensor in [*layout.shared.values(), *layout.private.values()])
    assert layout.shared.keys() | layout.private.keys() == network.state_dict().keys()
