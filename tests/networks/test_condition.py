from __future__ import annotations

import pytest
import torch
from torch import nn

from shared_components.networks.condition import ConditionEmbedding, EncodedCondition, place_of
from shared_components.networks.generator import Generator
from shared_components.networks.style_layers import rms_normalise
from shared_components.networks.volume_generator import VolumeDrawer, VolumeGenerator
from tests.networks.small import small_generator


def test_a_height_lies_between_the_two_positions_beside_it():
    heights = torch.tensor([0.0, 0.125, 0.25, 0.40625, 1.0, torch.nan])
    assert place_of(heights, 4).tolist() == [
        [1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.875, 0.125, 0], [0, 0, 0, 1], [0, 0, 0, 0]
    ]  # fmt: skip
    assert place_of(torch.tensor([0.0, 0.7, torch.nan]), 1).tolist() == [[1], [1], [0]]


@pytest.mark.parametrize("depth", [*range(1, 201)])
def test_weights_of_any_stack_are_shares(depth):
    heights = (torch.arange(depth) + 0.5) / depth
    weights = place_of(heights, 16)
    assert torch.allclose(weights.sum(1), torch.ones(depth), atol=1e-5) and float(weights.min()) >= 0
    assert int((weights > 0).sum(1).max()) <= 2


def test_an_image_without_a_height_is_told_by_its_domain_alone():
    condition = ConditionEmbedding(2, 4, 8)
    nowhere = condition(torch.tensor([1]), torch.tensor([torch.nan]))
    alone = condition.linear(torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]))
    assert torch.allclose(nowhere, alone / alone.square().mean().sqrt(), atol=1e-5)
    nowhere.sum().backward()
    assert float(condition.linear.weight.grad[:, 2:].abs().max()) == 0
    assert bool(condition.linear.weight.grad.isfinite().all())


def test_two_positions_receive_gradient_in_their_shares():
    condition = ConditionEmbedding(1, 4, 8)
    condition.linear(torch.cat([torch.ones(1, 1), place_of(torch.tensor([0.3125]), 4)], 1)).sum().backward()
    share = condition.linear.weight.grad[0] / condition.linear.scale
    assert torch.allclose(share, torch.tensor([1.0, 0.25, 0.75, 0.0, 0.0]))


def test_what_no_domain_is_told_depends_on_the_height_alone_and_not_on_how_many_domains_there_are():
    condition, heights = EncodedCondition(2, 4, 8, encoding=3), torch.tensor([0.1, 0.6])
    condition.encodings.fill_(1.0)
    found = condition.of_no_domain(heights)
    expected = condition.linear(torch.cat([torch.zeros(2, 2), place_of(heights, 4)], dim=1))
    assert torch.allclose(found, rms_normalise(expected)) and not torch.allclose(found[0], found[1])
    more = EncodedCondition(5, 4, 8, encoding=3)
    known = condition.state_dict()
    more.load_state_dict(known | more.with_more_domains(known))
    assert torch.allclose(more.of_no_domain(heights), found, atol=1e-6)


class Drawing(nn.Module):
    """The generator as it is exported: without noise."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = small_generator()

    def forward(self, z, domain, position):
        return self.generator(z, domain, position, "none")


def test_torchscript_draws_at_heights_other_than_those_it_was_traced_with():
    drawing = Drawing().eval()
    z, domain = torch.randn(3, 8), torch.tensor([0, 1, 1])
    traced = torch.jit.trace(drawing, (z, domain, torch.tensor([0.5, 0.5, 0.5])), check_trace=False)
    with torch.no_grad():
        for heights in ([0.0, 0.33, 1.0], [0.9, torch.nan, 0.1]):
            position = torch.tensor(heights)
            assert torch.allclose(traced(z, domain, position), drawing(z, domain, position), atol=1e-6)


DOMAIN, HEIGHT = torch.tensor([0, 1, 1]), torch.tensor([0.3, 0.8, torch.nan])


def encoded(scale: float = 1.0) -> EncodedCondition:
    """Of two domains, of which the second's encoding is known."""
    torch.manual_seed(0)
    condition = EncodedCondition(2, 4, 8, encoding=3)
    condition.encodings[1] = scale * torch.tensor([0.6, 0.0, -0.8])
    return condition


def test_a_known_encoding_is_four_fifths_of_the_embedding_and_an_unknown_none():
    condition = encoded()
    learnt = condition.learnt(DOMAIN, HEIGHT)
    s = torch.tensor([0.6, 0.0, -0.8]) * 3**0.5  # of mean square 1
    told = rms_normalise(s @ condition.semantic.weight.T / 3**0.5)
    found = condition(DOMAIN, HEIGHT)
    assert torch.equal(found[0], learnt[0])
    assert torch.allclose(found[1:], 0.8 * told + 0.2 * learnt[1:], atol=1e-6)
    choice = torch.tensor([True, False, True])
    assert torch.equal(condition(DOMAIN, HEIGHT, choice), torch.stack([learnt[0], learnt[1], found[2]]))


def test_the_direction_of_an_encoding_alone_counts_and_it_does_not_train():
    assert torch.allclose(encoded(0.01)(DOMAIN, HEIGHT), encoded()(DOMAIN, HEIGHT), atol=1e-5)
    condition = encoded()
    assert "encodings" in condition.state_dict() and not condition.encodings.requires_grad
    condition(DOMAIN, HEIGHT).square().sum().backward()
    assert condition.semantic.weight.grad.abs().sum() > 0 and condition.linear.weight.grad.abs().sum() > 0
    unknown = encoded(0.0)
    unknown(DOMAIN, HEIGHT)[:, 0].sum().backward()
    assert unknown.semantic.weight.grad.abs().max() == 0 and unknown.linear.weight.grad.isfinite().all()


def test_torchscript_draws_with_the_encodings_too():
    generator = Generator(
        24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01, encoding=3
    )
    generator.condition.encodings[1] = torch.tensor([0.6, 0.0, -0.8])
    scripted = torch.jit.script(VolumeDrawer(generator.eval(), 1, 3, noise=False))
    z = torch.randn(2, 8)
    with torch.no_grad():
        expected = [VolumeGenerator(generator, domain, 3, noise=False)(z) for domain in (0, 1)]
        assert torch.allclose(scripted(z, 0), expected[0], atol=1e-5)
        assert torch.allclose(scripted(z), expected[1], atol=1e-5)
        generator.condition.encodings.zero_()
        assert not torch.allclose(VolumeGenerator(generator, 1, 3, noise=False)(z), expected[1], atol=1e-3)
