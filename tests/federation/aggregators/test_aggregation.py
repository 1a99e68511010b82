from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import federated_average
from shared_components.federation.aggregators.aggregation import from_blocks, l2_norm, to_blocks


def update(value, count=1):
    return {"w": torch.tensor([value, 2 * value]), "n": torch.tensor(count), "on": torch.tensor([count > 1])}


def test_weighting_by_hand():
    mean = federated_average({"a": update(1.0, 3), "b": update(5.0, 1)}, {"a": 1, "b": 3})
    assert torch.equal(mean["w"], torch.tensor([4.0, 8.0]))  # (1*1 + 3*5) / 4
    assert mean["n"] == 3 and mean["n"].dtype == torch.int64
    assert mean["on"].dtype == torch.bool and bool(mean["on"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_clients_stay_equal(dtype):
    tensor = torch.randn(1000).to(dtype)
    mean = federated_average({c: {"w": tensor} for c in "abc"}, {"a": 7, "b": 11, "c": 13})
    assert mean["w"].dtype == dtype and torch.equal(mean["w"], tensor)


def test_one_client_gets_its_own_bits():
    tensor = torch.cat([torch.randn(1000), torch.tensor([-0.0, 1e-42, 3e38])])
    mean = federated_average({"a": {"w": tensor}}, {"a": 37})["w"]
    assert torch.equal(mean.view(torch.int32), tensor.view(torch.int32))


def test_sums_in_float64_against_numpy():
    updates = {f"c{i}": {"w": torch.randn(50) * 10**i} for i in range(4)}
    weights = {"c0": 5, "c1": 0, "c2": 2.5, "c3": 1}
    expected = np.average(
        [updates[c]["w"].double().numpy() for c in weights], axis=0, weights=[*weights.values()]
    )
    np.testing.assert_array_equal(
        federated_average(updates, weights)["w"].numpy(), expected.astype(np.float32)
    )


def test_order_of_clients_does_not_matter():
    updates = {c: {"w": torch.randn(200)} for c in "abcd"}
    weights = {"a": 3, "b": 1, "c": 7, "d": 2}
    turned = federated_average({c: updates[c] for c in "dbca"}, {c: weights[c] for c in "cadb"})
    assert torch.equal(federated_average(updates, weights)["w"], turned["w"])


def test_large_tensors_are_averaged_whole():
    tensors = [torch.randn(3, 100_003), torch.randn(3, 100_003)]
    mean = federated_average({"a": {"w": tensors[0]}, "b": {"w": tensors[1]}}, {"a": 1, "b": 3})["w"]
    expected = (tensors[0].double() + 3 * tensors[1].double()) / 4
    assert torch.equal(mean, expected.float())


def test_blocks_give_the_tensors_back():
    tensors = {"w": torch.randn(2, 3), "n": torch.tensor(4), "empty": torch.zeros(0, 2), "b": torch.ones(5)}
    back = from_blocks(to_blocks(tensors))
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in tensors.items())


def test_updates_are_left_as_they_were():
    updates = {"a": update(1.0), "b": update(2.0)}
    federated_average(updates, {"a": 1, "b": 1})["w"].zero_()
    assert torch.equal(updates["a"]["w"], torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    ("updates", "weights", "message"),
    [
        ({}, {}, "at least one client"),
        ({"a": update(1.0)}, {"b": 1}, "a weight for each"),
        ({"a": update(1.0)}, {"a": 0}, "all weights"),
        ({"a": update(1.0), "b": update(1.0)}, {"a": 1, "b": -1}, "client b: its weight"),
        ({"a": update(1.0)}, {"a": float("nan")}, "client a: its weight"),
        ({"a": update(1.0), "b": update(float("nan"))}, {"a": 1, "b": 1}, "client b: 'w' holds NaN"),
        ({"a": update(1.0), "b": {"w": torch.zeros(2)}}, {"a": 1, "b": 1}, "client b: 'n' is missing"),
        ({"a": {"w": torch.zeros(2)}, "b": update(1.0)}, {"a": 1, "b": 1}, "client b: sent 'n'"),
        (
            {"a": {"w": torch.zeros(2)}, "b": {"w": torch.zeros(3)}},
            {"a": 1, "b": 1},
            r"client b: 'w' is \(3,\)",
        ),
        (
            {"a": {"w": torch.zeros(2)}, "b": {"w": torch.zeros(2).double()}},
            {"a": 1, "b": 1},
            r"float64, expected \(2,\) torch.float32",
        ),
    ],
)
def test_refused(updates, weights, message):
    with pytest.raises(InputError, match=message):
        federated_average(updates, weights)


def test_norm_is_of_all_elements_with_a_mean():
    start = {"w": torch.zeros(2, 2), "c": torch.zeros(1, dtype=torch.complex64), "n": torch.tensor(5)}
    there = {"w": torch.ones(2, 2), "c": torch.tensor([3 + 4j]), "n": torch.tensor(500)}
    assert l2_norm(there, start) == l2_norm(there) == pytest.approx(29**0.5)
    assert l2_norm(there, there) == l2_norm({"n": torch.tensor(500)}) == l2_norm({}) == 0


def test_many_elements_of_half_precision_are_summed_in_float64():
    large = {"w": torch.full((3, 20_000), 0.5, dtype=torch.float16)}
    assert l2_norm(large) == pytest.approx(15_000**0.5, rel=1e-12)
    moved = {"w": torch.full((3, 20_000), 2.5, dtype=torch.float16)}
    assert l2_norm(large, moved) == pytest.approx(240_000**0.5, rel=1e-12)


def test_what_is_not_finite_has_no_finite_norm():
    assert not torch.tensor(l2_norm({"w": torch.tensor([1.0, float("nan")])})).isfinite()
    assert l2_norm({"w": torch.tensor([1.0, float("-inf")])}) == float("inf")
