from __future__ import annotations

import math

import pytest
import torch

from shared_components.data.slice_choice import height_intervals
from shared_components.networks.condition import place_of


def test_intervals_meet_in_the_middle_between_two_chosen_slices():
    assert height_intervals([0, 1, 2, 3], 4) == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert height_intervals([1, 5], 10) == [(0, 0.35), (0.35, 1)]
    assert height_intervals([3], 10) == [(0, 1)]
    assert all(math.isnan(height) for height in height_intervals([0], 1)[0])


@pytest.mark.parametrize("depth", range(2, 201))
def test_whatever_the_depth_every_learnt_position_is_trained(depth):
    """Heights drawn from the slices' intervals reach all positions, so that none that is drawn later is new."""
    lower, upper = torch.tensor(height_intervals(range(depth), depth), dtype=torch.float64).unbind(1)
    assert float(lower[0]) == 0 and float(upper[-1]) == 1 and torch.equal(lower[1:], upper[:-1])
    drawn = torch.lerp(lower[:, None], upper[:, None], torch.linspace(0, 1, 65, dtype=torch.float64))
    trained = place_of(drawn.flatten(), 16).amax(0)
    assert float(trained.min()) > 0.5
