"""What a factory drew is held while it learns more."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.losses.domain_rehearsal import DomainRehearsal
from shared_components.networks.generator import Generator

DOMAINS = ["a", "b", "c"]


def generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(24, 3, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01)


@pytest.fixture
def trained() -> Generator:
    found = generator()
    found.remember(torch.tensor([0, 1]), torch.tensor([0.5, torch.nan]))  # of b, single slices alone
    return found


def begun(average: Generator, **settings) -> DomainRehearsal:
    loss = DomainRehearsal(average, **{"weight": 1.0, "batch": 16, "domains": DOMAINS, **settings})
    loss.begin(average)
    return loss


def test_the_difference_from_itself_is_none_and_from_another_is_that_of_the_images(trained):
    loss = begun(trained)
    assert float(loss(trained)) == 0
    other = generator()
    with torch.no_grad():
        other.image_bias[-1] += 0.25  # every pixel
    assert float(loss(other).detach()) == pytest.approx(0.25, abs=1e-6)


def test_label_maps_that_are_drawn_too_are_held():
    torch.manual_seed(0)
    drawing = Generator(
        24, 3, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01, classes=2
    )
    drawing.remember(torch.tensor([0]), torch.tensor([0.5]))
    loss = begun(drawing)
    assert float(loss(drawing)) == 0
    with torch.no_grad():
        drawing.image_bias[-1, 1] += 5  # scores of a class alone
    assert float(loss(drawing).detach()) > 0.05


def test_the_average_is_kept_as_it_was_and_the_generator_alone_gets_gradient(trained):
    loss = begun(trained)
    kept = loss.teacher.constant.clone()
    with torch.no_grad():
        trained.constant += 1
    assert torch.equal(loss.teacher.constant, kept)
    loss(trained).backward()
    assert trained.constant.grad is not None
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_domains_that_were_trained_are_held_but_the_clients_own(trained):
    def held(**settings) -> list[int]:
        return begun(trained, **settings)._held.tolist()

    assert held() == [0, 1]
    assert held(own=["b"]) == [0]
    assert held(own=["c"]) == [0, 1]
    assert held(rehearsed=["c", "a"]) == [2, 0]


def test_heights_are_those_that_a_domain_knows(trained):
    loss, seen = begun(trained), []
    trained.condition.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    loss(trained)
    ((domain, height),) = seen
    assert set(domain.tolist()) == {0, 1}
    assert torch.equal(height.isnan(), domain == 1)
    assert bool(((height >= 0) & (height <= 1) | height.isnan()).all())


def test_an_untrained_average_holds_nothing_and_one_that_does_not_say_of_what_is_refused(trained):
    assert not begun(generator()).active
    trained.slices_seen.zero_()
    with pytest.raises(InputError, match=r"says not which domains it was trained on.*name them"):
        begun(trained)
    assert begun(trained, rehearsed=["a"]).active
    noisy = DomainRehearsal(generator(), 1.0, 4, DOMAINS, rehearsed=["a"])
    noisy.begin(generator(), trained=True)  # counters stood still
    assert noisy.active
    noisy.begin(None)
    assert noisy.active
    with pytest.raises(InputError, match="those that noise protected do; name them"):
        DomainRehearsal(generator(), 1.0, 4, DOMAINS).begin(generator(), trained=True)
    with pytest.raises(InputError, match="rehearsed: expected names among a, b, c, found d"):
        begun(trained, rehearsed=["d"])


def test_without_weight_nothing_is_kept(trained):
    loss = begun(trained, weight=0.0)
    assert not loss.active and not loss.state_dict()


def test_what_is_kept_goes_on_from_its_state(trained):
    loss, again = begun(trained), DomainRehearsal(generator(1), 1.0, 16, DOMAINS)
    again.load_state_dict(loss.state_dict())
    again.begin(None)
    assert again.active and float(again(trained)) == 0
