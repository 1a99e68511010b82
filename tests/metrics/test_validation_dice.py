from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.metrics import DiceMetric

from shared_components.metrics.validation_dice import VolumeDice


def test_a_perfect_slice_and_an_empty_one_filled_with_foreground_are_not_perfect():
    true = torch.zeros(2, 1, 8, 8, dtype=torch.int64)
    true[0, :, 2:6, 2:6] = 1
    found = true.clone()
    found[1] = 1
    monais = DiceMetric(include_background=False, num_classes=2)
    monais(y_pred=found, y=true)
    assert float(monais.aggregate()) == 1.0
    dice = VolumeDice(2)
    for pred, label in zip(found, true, strict=True):
        dice.update((pred, label, 0))
    assert dice.compute() == pytest.approx(2 * 16 / (16 + 16 + 64))


def test_is_the_dice_of_whole_volumes():
    random = np.random.default_rng(0)
    true, found = random.integers(0, 3, (2, 3, 5, 6, 6))  # volumes of 5 slices
    dice = VolumeDice(3)
    for volume, slices in enumerate(zip(found, true, strict=True)):
        for pred, label in zip(*slices, strict=True):
            dice.update((torch.tensor(pred)[None].float(), torch.tensor(label)[None], volume))
    expected = [
        2 * ((t == c) & (f == c)).sum() / ((t == c).sum() + (f == c).sum())
        for t, f in zip(true, found, strict=True)
        for c in (1, 2)
    ]
    assert dice.compute() == pytest.approx(np.mean(expected))


def test_a_class_that_a_volume_lacks_and_unknown_pixels():
    label = torch.tensor([[[0, 1, -1, -1]]])
    dice = VolumeDice(3)
    dice.update((torch.tensor([[[0, 1, 1, 2]]]), label, 0))  # right where it is known
    assert dice.compute() == 1.0
    dice.update((torch.tensor([[[2, 1, 1, 2]]]), label, 0))  # class 2 where there is none
    assert dice.compute() == pytest.approx(0.5)
    dice.update((torch.tensor([[[1, 1, 1, 1]]]), torch.full((1, 1, 4), -1), 1))  # nobody looked
    assert dice.compute() == pytest.approx(0.5)


def test_nothing_to_score():
    with pytest.raises(NotComputableError, match="expected slices with labels"):
        VolumeDice(2).compute()


def test_reads_an_evaluators_batches_and_starts_anew_with_each_run():
    engine = Engine(lambda engine, batch: batch)
    VolumeDice(2).attach(engine, "dice")

    def batch(pred: int) -> list[dict]:
        one = torch.ones(1, 2, 2)
        return [{"volume": torch.tensor(v), "pred": one * pred, "label": one * v} for v in (0, 1)]

    assert [engine.run([batch(pred)]).metrics["dice"] for pred in (1, 0, 1)] == [0.5, 0.5, 0.5]
    one = torch.ones(1, 2, 2)
    slices = [{"volume": torch.tensor(7), "pred": one, "label": one * true} for true in (1, 0)]
    assert engine.run([[each] for each in slices]).metrics["dice"] == pytest.approx(2 * 4 / (8 + 4))
    assert engine.run([[{"volume": 0, "pred": torch.ones(1, 2), "label": torch.ones(1, 2)}]]).metrics == {
        "dice": 1.0
    }
