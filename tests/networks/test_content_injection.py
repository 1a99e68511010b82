"""Gated recurrent injection of content."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.content_injection import (
    ContentInjection,
    GatedContent,
    InjectedContent,
    nearest_size,
)

SIZES, CHANNELS = (3, 6, 12, 24, 48), (9, 8, 7, 6, 5)
CONTENT_SIZES, CONTENT_CHANNELS = (24, 12, 6, 3), (4, 5, 6, 7)


def injection(**kwargs) -> ContentInjection:
    return ContentInjection(SIZES, CHANNELS, CONTENT_SIZES, CONTENT_CHANNELS, **kwargs)


def content(batch: int = 2) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(batch, c, s, s) for c, s in zip(CONTENT_CHANNELS, CONTENT_SIZES, strict=True))


def features(level: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, CHANNELS[level], SIZES[level], SIZES[level])


def test_default_is_the_second_coarsest_resolution_alone():
    network = injection()
    assert network.levels == [1]
    inject = network(content())
    for level in (0, 2, 3, 4):
        g = features(level)
        assert inject(level, g) is g


@pytest.mark.parametrize("resolutions", [[6], [6, 12, 24], [48, 3]])
def test_shapes(resolutions):
    inject = injection(resolutions=resolutions)(content())
    for level in range(5):
        assert inject(level, features(level)).shape == (2, CHANNELS[level], SIZES[level], SIZES[level])
    assert sorted(SIZES[level] for level in inject.gated) == sorted(resolutions)


def test_alpha_zero_keeps_the_unmasked_features():
    network = injection(ramp_updates=4)
    inject = network(content())
    g, mask = features(1), inject.gated[1].mask
    torch.testing.assert_close(inject(1, g), g * (1 - mask))


def test_alpha_zero_and_empty_mask_is_the_identity():
    g = features(1)
    inject = InjectedContent({1: GatedContent(torch.randn_like(g), torch.zeros_like(g))}, 0.0)
    assert torch.equal(inject(1, g), g)


def test_alpha_one_is_the_content():
    network = injection(ramp_updates=0)
    inject = network(content())
    assert torch.equal(inject(1, features(1)), inject.gated[1].content)


def test_alpha_in_between_by_hand():
    one = torch.ones(1, 1, 1, 1)
    inject = InjectedContent({0: GatedContent(2 * one, 0.5 * one)}, 0.25)
    assert inject(0, 4 * one).item() == pytest.approx(0.25 * 2 + 0.75 * 4 * 0.5)


def test_ramp():
    network, alphas = injection(ramp_updates=4), []
    for _ in range(6):
        alphas.append(float(network.alpha))
        network.advance()
    assert alphas == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_count_of_updates_is_saved():
    network = injection(ramp_updates=4)
    network.advance()
    other = injection(ramp_updates=4)
    other.load_state_dict(network.state_dict())
    assert float(other.alpha) == 0.25


def test_mask_lies_between_zero_and_one_and_bounds_the_content():
    gated = injection(resolutions=[6, 12])(content()).gated
    for f, mask in gated.values():
        assert mask.min() >= 0 and mask.max() < 1
        assert torch.all(f[mask == 0] == 0)


def test_the_state_recurs_from_coarse_to_fine():
    network, maps = injection(resolutions=[6, 12]), content()
    before = network(maps).gated[2].content
    changed = (*maps[:2], maps[2] + 1, maps[3])  # 6 px content reaches 12 px through the state alone
    assert not torch.equal(network(changed).gated[2].content, before)


def test_every_parameter_gets_gradient():
    network = injection(resolutions=[6, 12], ramp_updates=2)
    network.advance()
    inject = network(content())
    (inject(1, features(1)).square().sum() + inject(2, features(2)).square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_nearest_size_prefers_the_exact_then_the_closest_ratio():
    assert [nearest_size(CONTENT_SIZES, s) for s in (24, 6, 48, 4)] == [0, 2, 0, 3]


def test_unknown_resolution():
    message = (
        r"injection_resolutions: .* generator's resolutions \[3, 6, 12, 24, 48\] px, found \[10\]; choose"
    )
    with pytest.raises(InputError, match=message):
        injection(resolutions=[6, 10])
