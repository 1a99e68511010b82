from __future__ import annotations

import pytest
import torch

from shared_components.federation.screening import screen

GLOBAL = {"w": torch.zeros(4), "steps": torch.tensor(3)}


def update(size: float, **changes) -> dict[str, torch.Tensor]:
    """An update whose difference from the global weights has a norm of ``size``."""
    return {"w": torch.full((4,), size / 2), "steps": torch.tensor(4), **changes}


def test_sound_updates_all_count():
    assert screen({"a": update(1.0), "b": update(50.0), "c": update(2.0)}, GLOBAL, 100) == {}


@pytest.mark.parametrize(
    ("sizes", "largest", "refused"),
    [
        ((1.0, 1.0, 101.0), 100, "c"),
        ((1.0, 1.0, 99.0), 100, ""),
        ((1.0, 1e6), 100, "b"),  # of two the smaller one is the median
        ((1.0, 1e6, 1e6), 100, ""),  # the majority is taken at its word
        ((1.0, 2.0, 1e6, 1e7), 100, "cd"),
        ((1e6,), 100, ""),  # alone there is nothing to compare with
        ((0.0, 0.0, 1.0), 100, ""),  # a median of nothing measures nothing
        ((1.0, 1.0, 1e6), None, ""),
    ],
)
def test_size_is_measured_by_the_lower_median(sizes, largest, refused):
    updates = {name: update(size) for name, size in zip("abcd", sizes, strict=False)}
    found = screen(updates, GLOBAL, largest)
    assert "".join(found) == refused
    for reason in found.values():
        assert "times as large as the round's median update, more than largest_update (100)" in reason


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"w": torch.tensor([0.0, torch.nan, 0.0, 0.0])}, "its update: 'w' holds NaN or infinite values"),
        ({"w": torch.full((4,), torch.inf)}, "its update: 'w' holds NaN or infinite values"),
        ({"w": torch.zeros(5)}, r"'w' is (5,) torch.float32, expected (4,) torch.float32"),
        ({"w": torch.zeros(4).double()}, r"'w' is (4,) torch.float64, expected (4,) torch.float32"),
        ({"other": torch.zeros(4)}, "sent 'other', which the global model lacks"),
    ],
)
def test_wrong_updates_are_told_and_do_not_count_in_the_median(wrong, reason):
    found = screen({"a": update(1.0, **wrong), "b": update(1.0), "c": update(1000.0)}, GLOBAL, 100)
    assert list(found) == ["a", "c"] and found["a"].startswith(reason)


def test_what_is_missing_is_told():
    short = update(1.0)
    del short["steps"]
    assert screen({"a": short, "b": update(1.0)}, GLOBAL, 100)["a"].startswith("'steps' is missing")
