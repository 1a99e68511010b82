from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import pytest
import torch
from torch.utils.data import Dataset

from shared_components.data.samplers import (
    MixedBatches,
    SliceBatches,
    class_weights,
    rare_slices,
    shuffled_passes,
    slice_loader,
)
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


class Labels:
    """Slices of 4 x 4 pixels: all background, 4 pixels of class 1, 4 of class 1 and one of class 2, nobody looked."""

    labelled, unlabelled = [0, 1, 2], [3]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        label = torch.zeros(1, 4, 4, dtype=torch.int64)
        if index in (1, 2):
            label[0, 0] = 1
        if index == 2:
            label[0, 3, 3], label[0, 3, 2] = 2, -1
        return {"label": label.fill_(-1) if index == 3 else label, "number": torch.tensor(index)}


def test_weights_fall_with_the_root_of_the_pixels():
    weights = class_weights(Labels(), 3, "balanced")
    expected = torch.tensor([38.0, 8.0, 1.0]).rsqrt()
    torch.testing.assert_close(weights, expected / expected.mean())


def test_a_class_that_no_label_shows_weighs_1():
    weights = class_weights(Labels(), 4, "balanced")
    assert float(weights[3]) == 1.0 and float(weights[:3].mean()) == pytest.approx(1.0)


def test_no_weights_and_kinds_that_are_none():
    assert class_weights(Labels(), 3, "none") is None
    with pytest.raises(InputError, match="class_weights: expected one of none, balanced, found 'equal'"):
        class_weights(Labels(), 3, "equal")


def test_slices_of_the_rarest_class_that_there_is():
    assert rare_slices(Labels(), 3) == [2] and rare_slices(Labels(), 9) == [2]
    blank = Labels()
    blank.labelled = [0]
    with pytest.raises(InputError, match="found background alone"):
        rare_slices(blank, 3)


def test_classes_of_no_labelled_slice_cannot_be_counted():
    bare = Labels()
    bare.labelled = []
    cure = "found none; add label maps to dataset.json, or set class_weights to none and rare_per_batch to 0"
    for count in (lambda: class_weights(bare, 3, "balanced"), lambda: rare_slices(bare, 3)):
        with pytest.raises(InputError, match=cure):
            count()
    assert class_weights(bare, 3, "none") is None


@pytest.mark.parametrize("labelled", [None, 3])
def test_every_batch_has_slices_of_the_rarest_class(labelled):
    loader = slice_loader(Labels(), 4, 5, labelled_per_batch=labelled, rare_per_batch=2, classes=3)
    batches = [batch["number"].tolist() for batch in loader]
    assert all(batch[:2] == [2, 2] and len(batch) == 4 for batch in batches)
    if labelled:
        assert all(batch[2] in (0, 1, 2) and batch[3] == 3 for batch in batches)


def test_more_rare_slices_than_labelled_ones():
    with pytest.raises(InputError, match="rare_per_batch: expected 0 to 1, the labelled slices of a batch"):
        slice_loader(Labels(), 4, 5, labelled_per_batch=1, rare_per_batch=2, classes=3)


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
