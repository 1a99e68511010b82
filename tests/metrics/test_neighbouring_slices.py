from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.metrics import neighbour_difference


def test_the_mean_step_from_slice_to_slice():
    volume = torch.tensor([0.0, 0.5, -0.5, -0.5]).expand(1, 6, 5, 4)
    assert neighbour_difference(volume) == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert neighbour_difference(torch.ones(4, 4, 9)) == 0


@pytest.mark.parametrize("shape", [(4, 4, 1), (7,)])
def test_a_single_slice_has_no_neighbour(shape):
    with pytest.raises(InputError, match=r"at least two slices \(..., D\), found"):
        neighbour_difference(torch.zeros(shape))
