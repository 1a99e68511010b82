"""Batches joined from several loaders."""

from __future__ import annotations

import pytest
import torch

from shared_components.data.mixed_batches import MixedBatches
from shared_components.errors import InputError


def loader(first: int, size: int, batches: int) -> list[dict[str, torch.Tensor]]:
    return [{"domain": torch.full((size,), first), "number": torch.full((size,), n)} for n in range(batches)]


def test_every_batch_has_its_share_of_each_loader():
    mixed = MixedBatches([loader(0, 2, 3), loader(5, 1, 3)])
    assert len(mixed) == 3
    for epoch in (0, 1):
        batches = list(mixed)
        assert [batch["domain"].tolist() for batch in batches] == [[0, 0, 5]] * 3, epoch
        assert [batch["number"].tolist() for batch in batches] == [[0] * 3, [1] * 3, [2] * 3]


def test_lengths_that_differ():
    with pytest.raises(InputError, match=r"equally many batches, found \[2, 3\]"):
        MixedBatches([loader(0, 2, 3), loader(1, 2, 2)])


def test_no_loader():
    with pytest.raises(InputError, match="one or more"):
        MixedBatches([])
