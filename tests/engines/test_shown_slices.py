from __future__ import annotations

import pytest
import torch

from shared_components.engines.factory_trainer import FactoryTrainer
from shared_components.engines.shown_slices import LabelChannels, domain_indices
from shared_components.errors import InputError
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.generator import Generator, SynthesisOutput

CHANNELS = (8, 8, 6, 4)


@pytest.fixture
def channels():
    return LabelChannels(2, [0], 2, torch.device("cpu"))


def test_known_pixels_are_signs_and_the_others_nothing(channels):
    label = torch.tensor([[[[0, 1], [-1, 1]]]]).repeat(2, 1, 1, 1)
    found = channels.real(torch.full((2, 1, 2, 2), 0.5), label, torch.tensor([0, 1]))
    assert found.images[0].tolist() == [[[0.5, 0.5]] * 2, [[1, -1], [0, -1]], [[-1, 1], [0, 1]]]
    assert found.images[1, 1:].eq(0).all(), "the second domain did not agree"
    assert found.known[:, 0].tolist() == [[[1, 1], [0, 1]], [[0, 0], [0, 0]]]


def test_a_drawn_map_is_shown_where_the_real_one_is_known(channels):
    scores = torch.tensor([[[[50.0]], [[-50.0]]], [[[0.0]], [[0.0]]], [[[9.0]], [[0.0]]]])
    known = torch.tensor([1.0, 1.0, 0.0])[:, None, None, None]
    found = channels.drawn(SynthesisOutput(torch.ones(3, 1, 1, 1), (), scores), known)
    assert found[..., 0, 0].tolist() == [[1, 1, -1], [1, 0, 0], [1, 0, 0]]


def test_names_become_places():
    assert domain_indices(["b"], ["a", "b"]) == [1]
    with pytest.raises(InputError, match="label_domains: expected some of the domains a, b, found 'c'"):
        domain_indices(["a", "c"], ["a", "b"])


def gradients(known_label: bool, domains: list[int]) -> dict[str, torch.Tensor]:
    """Of the generator after one update on four slices of domain 0."""
    torch.manual_seed(0)
    generator = Generator(24, 2, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01, classes=3)
    network = FactoryNetwork(generator, Discriminator(24, 2, 4, CHANNELS, width=8, image_channels=4))
    label = torch.randint(0, 3, (4, 1, 24, 24)) if known_label else torch.full((4, 1, 24, 24), -1)
    batch = {
        "image": torch.rand(4, 1, 24, 24) * 2 - 1,
        "label": label,
        "domain": torch.zeros(4, dtype=torch.int64),
        "interval": torch.tensor([[0.0, 1.0]] * 4),
    }
    FactoryTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[batch],
        network=network,
        optimizer=torch.optim.SGD(generator.parameters(), 1e-3),
        discriminator_optimizer=torch.optim.SGD(network.discriminator.parameters(), 1e-3),
        r1_gamma=10.0,
        path_length_weight=0.0,
        ema_decay=0.995,
        label_domains=domains,
        epoch_length=1,
    ).run()
    return {name: parameter.grad for name, parameter in generator.named_parameters()}


@pytest.mark.parametrize(
    ("known", "domains", "learns"), [(True, [0], True), (True, [1], False), (False, [0], False)]
)
def test_only_label_maps_that_may_be_used_teach_to_draw_them(known, domains, learns):
    found = gradients(known, domains)
    to_image = {n: g for n, g in found.items() if n.startswith("to_image") and len(g) == 4 and g.dim() > 2}
    assert len(to_image) == 4
    for name, gradient in to_image.items():
        assert bool(gradient[1:].abs().sum() > 0) == learns, name
        assert gradient[0].abs().sum() > 0, name
    assert bool(found["image_bias"][:, 1:].abs().sum() > 0) == learns
    assert found["image_bias"][:, 0].abs().sum() > 0


def test_the_image_does_not_depend_on_whether_labels_are_drawn_beside():
    plain = Generator(24, 2, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01)
    beside = Generator(24, 2, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01, classes=3)
    for one in plain.state_dict().items():
        target = beside.state_dict()[one[0]]
        if target.shape == one[1].shape:
            target.copy_(one[1])
        elif one[0] == "image_bias":
            target[:, :1] = one[1]
        else:
            target[:1] = one[1]
    w_plus = torch.randn(2, plain.rows, 8)
    first, second = plain.synthesis(w_plus, "none"), beside.synthesis(w_plus, "none")
    assert torch.allclose(first.image, second.image, atol=1e-6)
    assert first.labels is None and second.labels.shape == (2, 3, 24, 24)
