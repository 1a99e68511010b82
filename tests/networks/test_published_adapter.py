"""The published adaptation model and its two paths."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.files import save_tensors
from shared_components.networks.generator import Generator
from shared_components.networks.published_adapter import (
    PublishedAdapter,
    SegmentationPaths,
    latent_means,
    start_from_source,
)

CLASSES = 3


def generator(size: int = 32) -> Generator:
    return Generator(
        size,
        domains=3,
        positions=4,
        channels=(8, 8, 6, 4),
        z_dim=8,
        w_dim=8,
        mapping_layers=2,
        mapping_lr=0.01,
    )


def adapter(size: int = 32, **kwargs) -> PublishedAdapter:
    return PublishedAdapter(
        generator(size),
        CLASSES,
        widths=(4, 4, 6, 8),
        ramp_updates=0,
        classifier_width=6,
        classifier_hidden=4,
        latent_samples=16,
        **kwargs,
    )


def has_gradient(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("size", [32, 48])
def test_decode_shapes(size):
    network = adapter(size)
    out = network.decode(torch.randn(2, 1, size, size), torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert out.image.shape == (2, 1, size, size)
    assert network.source_classifier(out.features).shape == (2, CLASSES, size, size)


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("paths", ["both", "intra", "inter"])
def test_one_tensor_in_log_probabilities_out(size, paths):
    out = SegmentationPaths(adapter(size), source=0, target=2, paths=paths)(torch.randn(2, 1, size, size))
    assert out.shape == (2, CLASSES, size, size)
    torch.testing.assert_close(out.exp().sum(dim=1), torch.ones(2, size, size))


def test_both_paths_are_averaged():
    network, image = adapter().eval(), torch.randn(2, 1, 32, 32)
    choices = ("both", "intra", "inter")
    mean, intra, inter = (SegmentationPaths(network, 0, 1, paths)(image).exp() for paths in choices)
    assert not torch.allclose(intra, inter)
    torch.testing.assert_close(mean, (intra + inter) / 2)
    torch.testing.assert_close(torch.softmax(mean.log(), dim=1), mean)  # a second soft-max changes nothing


def test_paths_are_the_decoded_domains():
    network, image = adapter().eval(), torch.randn(2, 1, 32, 32)
    logits = network.path_logits(image, source=0, target=1)
    intra = network.target_classifier(network.decode(image, 1, 1).features)
    inter = network.source_classifier(network.decode(image, 1, 0).features)
    torch.testing.assert_close(logits.intra, intra)
    torch.testing.assert_close(logits.inter, inter)


def test_the_source_client_uses_the_source_classifier_alone():
    network, image = adapter().eval(), torch.randn(2, 1, 32, 32)
    expected = network.source_classifier(network.decode(image, 0, 0).features).softmax(dim=1)
    torch.testing.assert_close(SegmentationPaths(network, 0, 0)(image).exp(), expected)


def test_gradient_passes_the_generator_but_does_not_reach_it():
    network = adapter()
    out = network.decode(torch.randn(2, 1, 32, 32), 0, 1)
    network.source_classifier(out.features).square().sum().backward()
    assert has_gradient(network.encoder) and has_gradient(network.injection)
    assert has_gradient(network.source_classifier)
    assert all(p.grad is None for p in network.generator.parameters())
    assert not has_gradient(network.target_classifier)


def test_frozen_parts_stay_in_evaluation_mode():
    network = adapter()
    assert network.train().source_classifier.training
    network.fix_source()
    network.train()
    assert not network.source_classifier.training and not network.generator.training
    assert network.encoder.training and network.target_classifier.training
    assert not any(p.requires_grad for p in network.source_classifier.parameters())


def test_parameters_of_the_two_stages():
    network = adapter()
    pretrained, adapted = set(network.source_parameters()), set(network.adaptation_parameters())
    assert pretrained - adapted == set(network.source_classifier.parameters())
    assert adapted - pretrained == set(network.target_classifier.parameters())
    assert not (pretrained | adapted) & set(network.generator.parameters())


def test_target_started_from_source_segments_alike():
    network = adapter().train()
    network.encode(torch.randn(4, 1, 32, 32), 0)
    network.start_target_from_source(0, 1)
    network.eval()
    image = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(network.encode(image, 0).content, network.encode(image, 1).content)
    for first, second in zip(
        network.source_classifier.parameters(), network.target_classifier.parameters(), strict=True
    ):
        assert torch.equal(first, second)


def test_latent_means_leave_the_global_random_state_alone():
    network, state = generator(), torch.get_rng_state()
    first, second = latent_means(network, 16), latent_means(network, 16)
    assert torch.equal(first, second) and first.shape == (3, 8)
    assert torch.equal(torch.get_rng_state(), state)


def test_decoding_is_deterministic_by_default():
    network, image = adapter().eval(), torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        for layer in network.generator.layers:
            layer.noise_strength.fill_(1.0)
    assert torch.equal(network.decode(image, 0, 1).image, network.decode(image, 0, 1).image)


def test_traced_network_equals_the_module():
    network = SegmentationPaths(adapter(), 0, 1).eval()
    traced = torch.jit.trace(network, torch.randn(2, 1, 32, 32))
    image = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(traced(image), network(image))


def test_start_from_source(tmp_path):
    trained = adapter().train()
    trained.encode(torch.randn(4, 1, 32, 32) + 1, 0)
    save_tensors(tmp_path / "model.pt", {"model": SegmentationPaths(trained, 0, 0).state_dict()})
    fresh = start_from_source(SegmentationPaths(adapter(), 0, 1), tmp_path / "model.pt")
    trained.eval()
    fresh.eval()
    image = torch.randn(2, 1, 32, 32)
    expected = trained.encode(image, 0).content
    torch.testing.assert_close(fresh.adapter.encode(image, 1).content, expected)


def test_start_from_another_network(tmp_path):
    save_tensors(tmp_path / "model.pt", {"model": {"weight": torch.zeros(1)}})
    with pytest.raises(InputError, match=r"model\.pt: its weights do not fit"):
        start_from_source(SegmentationPaths(adapter(), 0, 1), tmp_path / "model.pt")


def test_unknown_paths():
    with pytest.raises(ValueError, match="expected one of"):
        SegmentationPaths(adapter(), 0, 1, paths="all")
