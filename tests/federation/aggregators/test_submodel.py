from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import FedAvg, FedAvgM, FedSubAvg

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
