"""Generated slices are drawn towards the mean embedding of a client's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from shared_components.errors import InputError
from shared_components.losses.semantic_alignment import SemanticAlignment, spherical_distance
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.generator import Generator
from shared_components.networks.image_encoder import DiscriminatorEncoder, RandomEncoder


class Slices(torch.utils.data.Dataset):
    """Noise of two domains of three."""

    def __init__(self) -> None:
        self.images = torch.rand(70, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.domains = torch.arange(70) % 2 * 2  # 0 and 2

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return {"image": self.images[index], "domain": self.domains[index]}


def alignment(weight: float = 50.0, share: float = 0.0) -> SemanticAlignment:
    return SemanticAlignment(RandomEncoder(), weight, Slices(), ["a", "b", "c"], share)


def begun() -> SemanticAlignment:
    loss = alignment()
    loss.begin(Discriminator(24, 3, 4, (8, 8, 6, 4), width=8))
    return loss


def test_the_distance_is_the_angle():
    angles = torch.tensor([0.0, 0.3, 1.0, 2.5])
    first = torch.tensor([[1.0, 0.0]]).expand(4, -1)
    second = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert torch.allclose(spherical_distance(first, second), angles, atol=1e-4)
    assert float(spherical_distance(first[:1], -first[:1])) == pytest.approx(math.pi, abs=0.01)


def test_the_gradient_of_equal_vectors_is_none_and_finite():
    first = torch.tensor([[0.6, 0.8]], requires_grad=True)
    spherical_distance(first, first.detach().clone()).sum().backward()
    assert first.grad.abs().max() == 0


def test_slices_as_near_as_the_share_of_the_clients_own_are_left_where_they_are():
    loss, slices = alignment(share=0.8), Slices()
    loss.begin(Discriminator(24, 3, 4, (8, 8, 6, 4), width=8))
    own = slices.domains == 2
    angles = spherical_distance(loss.encoder(slices.images[own]), loss.means[[2]])
    assert float((angles <= loss.near[2]).float().mean()) == pytest.approx(0.8, abs=0.03)
    assert float(loss.near[1]) == 0
    expected = (angles - loss.near[2]).clamp_min(0).square().mean()
    assert float(loss(slices.images[own], slices.domains[own])) == pytest.approx(float(expected))


def test_the_mean_is_that_of_all_own_slices_of_a_domain_and_of_unit_length():
    loss, slices = begun(), Slices()
    for domain in (0, 2):
        expected = F.normalize(loss.encoder(slices.images[slices.domains == domain]).mean(0), dim=0)
        assert torch.allclose(loss.means[domain], expected, atol=1e-5)
    assert torch.equal(loss.means[1], torch.zeros(loss.encoder.width))


def test_slices_like_the_clients_own_are_nearer_than_others_and_get_gradient():
    loss, slices = begun(), Slices()
    images = slices.images[:8].clone().requires_grad_()
    near = loss(images, slices.domains[:8])
    near.backward()
    assert float(near) < float(loss(torch.zeros(8, 1, 16, 16), slices.domains[:8])) and float(near) < 0.01
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None for p in loss.parameters())


def test_the_means_are_part_of_the_state_and_without_weight_there_is_none():
    loss, again = begun(), alignment()
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again.means, loss.means)
    off = alignment(0.0)
    off.begin(Discriminator(24, 3, 4, (8, 8, 6, 4), width=8))
    assert not off.active and not off.state_dict()


def test_the_generators_are_told_the_means_of_the_clients_own_domains_and_keep_those_of_others():
    told = SemanticAlignment(RandomEncoder(), 0.0, Slices(), ["a", "b", "c"], condition=99)
    told.begin(Discriminator(24, 3, 4, (8, 8, 6, 4), width=8))
    assert not told.active and torch.equal(told.means, begun().means)
    generators = [
        Generator(24, 3, 4, (8, 8, 6, 4), z_dim=8, w_dim=8, mapping_layers=4, mapping_lr=0.01, encoding=99)
        for _ in range(2)
    ]
    for generator in generators:
        generator.condition.encodings[:] = 0.5  # as the others have averaged them
    told.inform(*generators)
    for generator in generators:
        encodings = generator.condition.encodings
        assert torch.equal(encodings[[0, 2]], told.means[[0, 2]]) and bool((encodings[1] == 0.5).all())
    plain = Generator(24, 3, 4, (8, 8, 6, 4), z_dim=8, w_dim=8, mapping_layers=4, mapping_lr=0.01)
    begun().inform(plain)  # refinement alone tells nothing
    assert "condition.encodings" not in plain.state_dict()


def test_a_condition_needs_the_encoders_width_and_an_encoder_that_all_share():
    with pytest.raises(InputError, match=r"semantic_condition: expected 99, the width .* found 7"):
        SemanticAlignment(RandomEncoder(), 0.0, Slices(), ["a", "b", "c"], condition=7)
    own = DiscriminatorEncoder(Discriminator(24, 3, 4, (8, 8, 6, 4), width=8))
    with pytest.raises(InputError, match="expected an image_encoder that is the same at all clients"):
        SemanticAlignment(own, 0.0, Slices(), ["a", "b", "c"], condition=8)
