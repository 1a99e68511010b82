from __future__ import annotations

import pytest
import torch

from shared_components.data.class_balance import class_weights, rare_slices
from shared_components.data.samplers import slice_loader
from shared_components.errors import InputError


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
