from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import pytest
import torch
from torch.utils.data import Dataset

from shared_components.data.samplers import SliceBatches, shuffled_passes, slice_loader
from shared_components.errors import InputError


class Numbers(Dataset):
    """Ten slices, the first three labelled; a slice is its own index."""

    def __init__(self, labelled=3, total=10):
        self.labelled = list(range(labelled))
        self.unlabelled = list(range(labelled, total))

    def __len__(self):
        return len(self.labelled) + len(self.unlabelled)

    def __getitem__(self, index):
        return torch.tensor(index)


def test_an_epoch_has_exactly_the_batches_asked_for():
    batches = SliceBatches(Numbers(), batch_size=4, batches=7)
    assert len(batches) == len(list(batches)) == 7
    assert all(len(batch) == 4 for batch in batches)


def test_a_loader_is_as_long_as_the_epoch():
    loader = slice_loader(Numbers(), batch_size=4, batches=7, labelled_per_batch=1)
    assert len(loader) == len(list(loader)) == 7


def test_every_slice_comes_once_a_pass():
    drawn = Counter(chain.from_iterable(SliceBatches(Numbers(), batch_size=5, batches=6)))
    assert drawn == dict.fromkeys(range(10), 3)


@pytest.mark.parametrize("labelled", [0, 1, 2, 4])
def test_batches_are_balanced(labelled):
    for batch in SliceBatches(Numbers(), batch_size=4, batches=20, labelled_per_batch=labelled):
        assert sum(index < 3 for index in batch) == labelled
        assert len(batch) == 4


def test_a_small_pool_is_repeated_evenly():
    batches = SliceBatches(Numbers(labelled=1), batch_size=6, batches=3, labelled_per_batch=3)
    assert [batch[:3] for batch in batches] == [[0, 0, 0]] * 3


def test_passes_differ_in_order():
    stream = shuffled_passes(range(50))
    first, second = list(islice(stream, 50)), list(islice(stream, 50))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_the_same_random_state_gives_the_same_epoch():
    loader = slice_loader(Numbers(), batch_size=4, batches=9, labelled_per_batch=2)
    state = torch.get_rng_state()
    first = [batch.tolist() for batch in loader]
    second = [batch.tolist() for batch in loader]
    torch.set_rng_state(state)
    assert [batch.tolist() for batch in loader] == first
    assert second != first


def test_orders_are_drawn_batch_by_batch():
    batches = iter(SliceBatches(Numbers(), batch_size=10, batches=3))
    next(batches)
    state = torch.get_rng_state()
    rest = list(batches)
    torch.set_rng_state(state)
    expected = [torch.randperm(10).tolist() for _ in range(2)]
    assert rest == expected


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        (
            Numbers(labelled=0),
            {"labelled_per_batch": 1},
            "wants 1 labelled slices a batch, the data have none",
        ),
        (Numbers(labelled=10), {"labelled_per_batch": 1}, "wants 3 unlabelled slices a batch"),
        (Numbers(), {"labelled_per_batch": 5}, "expected 0 to batch_size = 4, found 5"),
        (Numbers(), {"batch_size": 0}, "at least one slice a batch"),
        (Numbers(), {"batches": 0}, "at least one slice a batch"),
    ],
)
def test_impossible_batches_are_refused(dataset, settings, message):
    with pytest.raises(InputError, match=message):
        SliceBatches(dataset, **({"batch_size": 4, "batches": 2} | settings))


def test_no_slices_give_no_passes_instead_of_endless_ones():
    with pytest.raises(InputError, match="expected slices to draw batches from, found none"):
        next(shuffled_passes([]))
    with pytest.raises(InputError, match="expected a dataset of slices to train on, found an empty one"):
        slice_loader([], batch_size=2, batches=1)
