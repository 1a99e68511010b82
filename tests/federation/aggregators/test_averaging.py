from __future__ import annotations

import pytest
import torch

from shared_components import federation
from shared_components.errors import InputError
from shared_components.federation import (
    FedAvg,
    FedAvgM,
    FedBN,
    FedMedian,
    FedProx,
    FedSubAvg,
    MultiKrum,
    NormBounded,
    TrimmedMean,
)
from shared_components.federation.aggregators import make_aggregator
from shared_components.federation.federation_file import programs


def test_clients_are_held_to_the_global_layout():
    update = {"w": torch.tensor([2.0, 4.0]), "n": torch.tensor(3)}
    made = FedAvg()({"a": update}, {"a": 1}, update)
    assert torch.equal(made["w"], update["w"]) and torch.equal(made["n"], update["n"])
    for aggregator in (FedAvg(), FedMedian(), TrimmedMean(), NormBounded(), MultiKrum()):
        with pytest.raises(InputError, match="which the global model lacks"):
            aggregator({"a": update}, {"a": 1}, {"w": torch.zeros(2)})


@pytest.mark.parametrize("kind", [FedAvg, FedProx, FedBN, FedMedian, TrimmedMean, NormBounded, MultiKrum])
def test_without_a_state_none_is_taken(kind):
    aggregator = kind()
    assert aggregator.state_dict() == {}
    aggregator.load_state_dict({})
    with pytest.raises(InputError, match=rf"the run's state \(velocity\) is not {kind.__name__}'s"):
        aggregator.load_state_dict({"velocity": {}})


AGGREGATORS = [name for name in federation.__all__ if name != "federated_average"]


def test_only_aggregators_are_taken():
    with pytest.raises(InputError, match=r"expected a subclass of .*FedAvg"):
        make_aggregator({"_target_": "torch.nn.Identity"})
    assert make_aggregator({"_target_": "shared_components.federation.FedProx", "mu": 0.5}).mu == 0.5


@pytest.mark.parametrize("name", AGGREGATORS)
def test_all_of_ours_are_made_by_name_and_need_no_trust(name):
    config = {"_target_": f"shared_components.federation.{name}"}
    assert type(make_aggregator(config)).__name__ == name
    assert programs({"aggregator": config}) == []
    assert len(programs({"overrides": config})) == len(programs({"aggregator": {"inner": config}})) == 1
    assert programs({"aggregator": {**config, "averaged": ["$__import__('os')"]}}) != []


IMAGES = {"a": 1, "b": 3}


def averaged(a, b, start=(0.0, 0.0, 0.0), aggregator=FedSubAvg):
    tensors = [{"w": torch.tensor(values), "n": torch.tensor(5)} for values in (a, b, start)]
    return aggregator()({"a": tensors[0], "b": tensors[1]}, IMAGES, tensors[2])


def test_each_element_is_averaged_over_those_that_moved_it():
    made = averaged([4.0, 4.0, 0.0], [8.0, 0.0, 0.0])["w"].tolist()
    assert made == [7.0, 4.0, 0.0]  # both, the first alone, nobody
    assert averaged([2.0, 1.0, 3.0], [1.0, 6.0, 3.0], (1.0, 2.0, 3.0))["w"].tolist() == [2.0, 4.75, 3.0]


def test_what_all_move_is_plain_averaging_bit_for_bit():
    a, b = torch.randn(2, 3).tolist()
    assert torch.equal(averaged(a, b)["w"], averaged(a, b, aggregator=FedAvg)["w"])
    assert averaged(a, b)["n"].item() == 5


def test_a_client_without_images_moves_nothing():
    weights = {"a": 0, "b": 2}
    updates = {"a": {"w": torch.tensor([9.0, 9.0])}, "b": {"w": torch.tensor([1.0, 0.0])}}
    assert FedSubAvg()(updates, weights, {"w": torch.zeros(2)})["w"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_types_stay(dtype):
    updates = {"a": {"w": torch.ones(2, dtype=dtype)}, "b": {"w": torch.zeros(2, dtype=dtype)}}
    made = FedSubAvg()(updates, IMAGES, {"w": torch.zeros(2, dtype=dtype)})["w"]
    assert made.dtype == dtype and made.tolist() == [1.0, 1.0]


def test_an_optimizer_at_the_server_takes_the_mean_of_those_that_moved():
    aggregator = FedAvgM(momentum=0.0, learning_rate=2.0, submodel=True)
    made = averaged([4.0, 4.0, 0.0], [8.0, 0.0, 0.0], aggregator=lambda: aggregator)["w"].tolist()
    assert made == [14.0, 8.0, 0.0]
    with pytest.raises(InputError, match="submodel"):
        FedAvgM(submodel="yes")
