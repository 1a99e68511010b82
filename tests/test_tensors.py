from __future__ import annotations

import pytest
import torch

from shared_components.tensors import misfit, not_finite


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), complex("nan")])
def test_the_first_tensor_that_is_not_finite_is_named_wherever_it_lies(value):
    bad = torch.tensor([0.0, value])
    content = {
        "optimizer": {"state": {0: {"step": torch.tensor(3), "exp_avg": [torch.zeros(2), bad]}}},
        "later": bad,
    }
    assert not_finite(content) == "optimizer.state.0.exp_avg.1"


def test_what_is_finite_or_no_tensor_passes():
    content = {"metric": float("-inf"), "none": None, "name": "nan", "counts": torch.tensor([2**40])}
    content["itself"] = [content]  # a file may hold this
    content["largest"] = torch.tensor([torch.finfo(torch.float16).max], dtype=torch.float16).expand(9)
    content["flags"] = torch.tensor([True])
    assert not_finite(content) is None


def test_eight_bit_and_sparse_tensors_are_looked_at_too():
    assert not_finite({"a": torch.tensor([float("nan")]).to(torch.float8_e4m3fn)}) == "a"
    assert not_finite({"a": torch.tensor([1.0]).to(torch.float8_e5m2)}) is None
    assert not_finite({"a": torch.tensor([[0.0, float("inf")]]).to_sparse()}) == "a"


EXPECTED = {"w": torch.zeros(2, 3), "n": torch.tensor(0)}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"w": torch.zeros(2, 3, dtype=torch.int8)}, "'w': expected (2, 3) float32, found (2, 3) int8"),
        (
            {"w": torch.zeros(2, 3, dtype=torch.complex64)},
            "'w': expected (2, 3) float32, found (2, 3) complex64",
        ),
        ({"w": torch.zeros(2, 3, dtype=torch.bool)}, "'w': expected (2, 3) float32, found (2, 3) bool"),
        (
            {"w": torch.zeros(2, 3, dtype=torch.float64)},
            "'w': expected (2, 3) float32, found (2, 3) float64",
        ),
        (
            {"w": torch.zeros(2, 3).to(torch.float8_e4m3fn)},
            "'w': expected (2, 3) float32, found (2, 3) float8_e4m3fn",
        ),
        ({"w": torch.zeros(3, 2)}, "'w': expected (2, 3) float32, found (3, 2) float32"),
        ({"w": torch.zeros(2, 3).to_sparse()}, "'w': expected (2, 3) float32, found a sparse tensor"),
        (
            {"w": torch.zeros(2, 3, device="meta")},
            "'w': expected (2, 3) float32, found a tensor without values",
        ),
        ({"w": [1.0]}, "'w': expected (2, 3) float32, found list"),
        ({"n": torch.tensor(0.0)}, "'n': expected () int64, found () float32"),
        ({"more": torch.zeros(1)}, "'more': expected none, found (1,) float32"),
        ({"w": torch.full((2, 3), float("nan"))}, "'w' holds NaN or infinite values"),
    ],
)
def test_tensors_that_a_network_would_cast_or_cannot_take_are_told(change, fault):
    assert misfit(EXPECTED, EXPECTED | change) == fault


def test_a_missing_tensor_is_told():
    assert misfit(EXPECTED, {"w": EXPECTED["w"]}) == "'n': expected () int64, found none"


@pytest.mark.parametrize(
    ("stored", "built"),
    [
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float64),
    ],
)
def test_floats_that_the_network_holds_exactly_are_taken(stored, built):
    assert misfit({"w": torch.zeros(2, dtype=built)}, {"w": torch.ones(2, dtype=stored)}) is None
