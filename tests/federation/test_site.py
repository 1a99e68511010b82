from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.federation import client_plan
from shared_components.federation.site import Site
from tests.federation.tiny import federation


@pytest.fixture
def plan(values):
    return client_plan(federation(values), "north")


def rounds(site: Site, numbers, weights, before=0) -> dict[str, torch.Tensor]:
    """The client's weights after some rounds, each begun from its own."""
    for number in numbers:
        weights = site.train(number, before, weights).weights
        site.remember(number)
        before = number
    return weights


def test_a_site_that_is_built_anew_goes_on_where_it_was_left(plan, values, tmp_path):
    site = Site(plan)
    assert site.build(0) == 3
    begun = site.shared_weights()
    two = rounds(site, (1, 2), begun)
    three = rounds(site, (3,), two, before=2)
    again = Site(plan).train(3, 2, two).weights  # nothing is alive there: it is built, and loads its state
    assert all(torch.equal(three[name], again[name]) for name in three)


def test_a_round_that_was_not_made_whole_is_trained_again_from_its_beginning(plan):
    site = Site(plan)
    site.build(0)
    begun = site.shared_weights()
    first = rounds(site, (1,), begun)
    assert all(torch.equal(first[name], rounds(site, (1,), begun)[name]) for name in first)


def test_trained_weights_leave_as_an_update_alone(plan):
    site = Site(plan)
    site.build(0)
    begun = site.shared_weights()
    site.train(1, 0, begun)
    for wanted in (lambda: None, lambda: (site.remember(1), site.build(1))):
        wanted()
        with pytest.raises(InputError, match="initial weights: expected a client that has not trained"):
            site.shared_weights()
    site._round = None  # as a round leaves it that failed in its middle
    assert all(torch.equal(begun[name], tensor) for name, tensor in site.shared_weights().items())


def test_the_states_of_two_rounds_are_kept_beside_the_new_one(plan):
    site = Site(plan)
    site.build(0)
    rounds(site, (1, 2, 3, 4), site.shared_weights())
    assert [plan.state_file(number).is_file() for number in range(1, 5)] == [False, True, True, True]


def test_a_state_that_is_not_there_is_told(plan):
    site = Site(plan)
    with pytest.raises(
        InputError, match=r"state\.2\.pt: it has no state of any round; put a copy of it back"
    ):
        site.build(2)
    site.build(0)
    rounds(site, (1,), site.shared_weights())
    with pytest.raises(
        InputError, match=r"state\.2\.pt: expected the client's state after its last round, found"
    ):
        site.build(2)


def test_a_state_is_written_of_the_round_that_was_trained_alone(plan):
    site = Site(plan)
    site.build(0)
    with pytest.raises(InputError, match="the client is not in its state after round 1"):
        site.remember(1)
    assert not plan.state_file(1).exists()
