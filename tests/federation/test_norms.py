from __future__ import annotations

import pytest
import torch

from shared_components.federation.norms import l2_norm


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
