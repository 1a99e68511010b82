"""Heads train on features that do not, and are told domain and height as the learning discriminator is."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.files import save_tensors
from shared_components.losses.adversarial import r1_penalty
from shared_components.networks.factory import FactoryNetwork, carried_over
from shared_components.networks.frozen_discriminator import FrozenDiscriminator
from shared_components.networks.generator import Generator
from tests.networks.test_frozen_features import resnet

CHANNELS = (8, 8, 6, 4)
DOMAIN, HEIGHT = torch.tensor([0, 2, 1, 0]), torch.tensor([0.1, 0.5, torch.nan, 0.9])


def discriminator(size: int = 24, domains: int = 3, **settings) -> FrozenDiscriminator:
    torch.manual_seed(0)
    return FrozenDiscriminator(size, domains, 4, CHANNELS, width=8, **settings)


def test_every_scale_has_a_logit_of_its_own():
    network = discriminator()
    image = torch.randn(4, 1, 24, 24)
    logits = network(image, DOMAIN, HEIGHT)
    assert logits.shape == (4, 3)
    finest = network.features(image)[0]
    expected = (network.heads[0](finest) * network.condition(DOMAIN, HEIGHT)).sum(1) / 8**0.5
    assert torch.allclose(logits[:, 0], expected, atol=1e-6)
    assert not torch.allclose(network(image, (DOMAIN + 1) % 3, HEIGHT), logits, atol=1e-3)
    assert not torch.allclose(network(image, DOMAIN, HEIGHT + 0.5), logits, atol=1e-3)


def test_heads_and_condition_receive_gradient_and_so_do_images_but_no_feature():
    network = discriminator().requires_grad_(False).requires_grad_(True)
    image = torch.randn(4, 1, 24, 24, requires_grad=True)
    network(image, DOMAIN, HEIGHT).sum().backward()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.grad.abs().sum() > 0} == {
        "heads", "condition"
    }  # fmt: skip
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    frozen = list(network.features.network.parameters())
    assert len(frozen) > 10 and all(p.grad is None and not p.requires_grad for p in frozen)
    assert image.grad.abs().sum() > 0
    assert {name.split(".")[0] for name in network.state_dict()} == {"heads", "condition", "fingerprint"}


def test_r1_is_that_of_the_heads_mean_and_reaches_the_heads():
    network = discriminator().double()
    image = torch.randn(2, 1, 24, 24, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(network(image, DOMAIN[:2], HEIGHT[:2]), image)
    step, direction = 1e-5, torch.randn_like(image)
    (gradient,) = torch.autograd.grad(network(image, DOMAIN[:2], HEIGHT[:2]).mean(1).sum(), image)
    with torch.no_grad():
        ends = [network(image + s * direction, DOMAIN[:2], HEIGHT[:2]).mean(1).sum() for s in (-step, step)]
    slope = float((ends[1] - ends[0]) / (2 * step))
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-3)
    assert float(penalty.detach()) == pytest.approx(float(gradient.square().sum((1, 2, 3)).mean()))
    penalty.backward()
    assert all(head.final_linear.weight.grad.abs().sum() > 0 for head in network.heads)


def test_coarse_images_are_enlarged_and_fading_comes_from_them():
    network = discriminator()
    coarse = torch.randn(4, 1, 12, 12)
    large = torch.nn.functional.interpolate(coarse, 24, mode="bilinear")
    assert torch.equal(network(coarse, DOMAIN, HEIGHT), network(large, DOMAIN, HEIGHT))
    flat = torch.nn.functional.avg_pool2d(coarse, 2)
    faded = network(coarse, DOMAIN, HEIGHT, fade=1e-9)
    again = torch.nn.functional.interpolate(flat, 12, mode="bilinear")
    assert torch.allclose(faded, network(again, DOMAIN, HEIGHT), atol=1e-5)
    with pytest.raises(ValueError, match=r"expected a size among \(3, 6, 12, 24\) px"):
        network(torch.randn(4, 1, 20, 20), DOMAIN, HEIGHT)


def test_a_state_of_other_features_is_noticed(tmp_path):
    weights = save_tensors(tmp_path / "weights.pt", resnet(5).state_dict())
    of_file, random = discriminator(path=weights), discriminator()
    random.check_features()
    random.load_state_dict(of_file.state_dict())
    with pytest.raises(InputError, match="frozen_features: expected the features with which"):
        random.check_features()


def test_a_new_domain_is_judged_as_the_mean_of_the_known():
    networks = [
        FactoryNetwork(
            Generator(24, k, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01),
            discriminator(domains=k),
        )
        for k in (2, 3)
    ]
    found = carried_over(networks[0].state_dict(), {}, network=networks[1])
    networks[1].load_state_dict(found)
    image = torch.randn(2, 1, 24, 24)
    logits = [n.discriminator(image, torch.tensor([0, 1]), HEIGHT[:2]) for n in networks]
    assert torch.allclose(*logits, atol=1e-5)
