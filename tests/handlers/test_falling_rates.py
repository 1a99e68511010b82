from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events

from shared_components.handlers.falling_rates import FallingRates


def adam(rate: float) -> torch.optim.Adam:
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def rates(optimizers, final: float, epochs: int, first: int = 0, rounds=None) -> list[list[float]]:
    """Of each epoch after ``first``, the rate of each optimiser."""
    engine, seen = Engine(lambda *_: None), []
    FallingRates(optimizers, final, epochs).attach(engine)
    if rounds:
        engine.add_event_handler(
            Events.STARTED | Events.EPOCH_COMPLETED, lambda e: setattr(e.state, "round", rounds[len(seen)])
        )
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda _: seen.append([o.param_groups[0]["lr"] for o in optimizers])
    )
    if first:
        engine.load_state_dict({"epoch": first, "max_epochs": first, "epoch_length": 1})
    engine.run([0], max_epochs=first + len(rounds) - 1 if rounds else epochs, epoch_length=1)
    return seen


def test_rates_fall_linearly_to_their_share_which_they_would_have_after_the_last_epoch():
    found = rates([adam(0.4), adam(0.1)], final=0.5, epochs=4)
    assert [one for one, _ in found] == pytest.approx([0.4, 0.35, 0.3, 0.25])
    assert [other for _, other in found] == pytest.approx([0.1, 0.0875, 0.075, 0.0625])


def test_a_training_that_goes_on_with_more_epochs_has_the_rates_of_the_longer_one():
    before, after = adam(1.0), adam(1.0)
    assert rates([before], 0.0, 2) == [[1.0], [0.5]]
    after.load_state_dict(before.state_dict())
    assert rates([after], 0.0, 4, first=2) == [[0.5], [0.25]]


def test_a_client_that_was_not_drawn_in_each_round_has_the_rate_of_the_round():
    assert rates([adam(1.0)], 0.0, 8, rounds=[2, 5, 8, 8]) == [[1 - 1 / 8], [0.5], [1 / 8]]


def test_constant_rates_are_left_alone():
    optimizer = adam(1.0)
    optimizer.param_groups[0]["initial_lr"] = 3.0
    assert rates([optimizer], 1.0, 2) == [[1.0], [1.0]]
