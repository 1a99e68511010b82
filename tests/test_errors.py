from __future__ import annotations

import pytest
import torch
from monai.losses import TverskyLoss

from shared_components.errors import closest, counted, failure_line, unknown


def test_what_is_unknown_is_told_with_what_was_probably_meant():
    assert unknown("key", ["rounds", "round", "xyz"], ["rounds", "seed"]) == [
        "key 'round' is unknown (did you mean 'rounds'?)",
        "key 'xyz' is unknown; known are rounds, seed",
    ]


def test_words_that_are_no_text_are_compared_as_such():
    assert closest(12, ["112", "north"]) == " (did you mean '112'?)"


def test_counted():
    assert (counted(1, "image"), counted(0, "image")) == ("1 image", "0 images")


@pytest.mark.parametrize("loss", [TverskyLoss(to_onehot_y=True), torch.nn.CrossEntropyLoss()])
def test_a_loss_that_does_not_know_minus_1_is_told_of_as_such(loss):
    label = torch.tensor([0, 1, -1]).expand(2, 1, 4, 3)
    with pytest.raises((RuntimeError, IndexError)) as raised:
        loss(torch.zeros(2, 2, 4, 3), label if isinstance(loss, TverskyLoss) else label[:, 0])
    line = failure_line(raised.value)
    assert line.startswith("loss: expected one that knows labels of -1") and "KnownDiceCELoss" in line
    with pytest.raises(IndexError) as raised:
        torch.zeros(1, 0)[:, -1]
    assert failure_line(raised.value).startswith("IndexError: index -1")
