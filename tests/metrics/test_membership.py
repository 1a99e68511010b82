from __future__ import annotations

import torch

from shared_components.metrics.membership import membership_inference


def points(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 10, generator=torch.Generator().manual_seed(seed))


def volumes(count: int) -> torch.Tensor:
    return torch.arange(count) // 10


def test_copies_give_every_member_away():
    training, held_out = points(60, 0), points(40, 1)
    found = membership_inference(training, held_out, training + 1e-3, (volumes(60), volumes(40)))
    assert found == (1.0, 1.0, 1.0)


def test_fresh_samples_tell_nothing():
    training, held_out, fresh = points(60, 0), points(40, 1), points(500, 2)
    found = membership_inference(training, held_out, fresh, (volumes(60), volumes(40)))
    assert found.low < 0.5 < found.high and abs(found.value - 0.5) < 0.15


def test_slices_are_drawn_where_there_are_few_volumes():
    training, held_out, fresh = points(60, 0), points(40, 1), points(500, 2)
    one = torch.zeros(60, dtype=torch.int64), torch.zeros(40, dtype=torch.int64)
    found = membership_inference(training, held_out, fresh, one)
    assert found.high - found.low > 0.1, "one volume on each side would make it a point"
