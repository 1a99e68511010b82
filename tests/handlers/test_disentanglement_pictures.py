from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from PIL import Image
from torch import nn

from shared_components.data.slices import SliceIndex
from shared_components.handlers import disentanglement_pictures
from shared_components.handlers.disentanglement_pictures import (
    DisentanglementPictures,
    spread_slices,
    style_swaps,
)
from shared_components.networks.adain_decoder import AdainDecoder
from shared_components.networks.disentangled import DisentangledNetwork
from shared_components.networks.style_encoder import StyleEncoder


class Slices:
    """Volumes of random slices: domain "A" has ``volumes[0]`` of them, "B" ``volumes[1]``, each of ``depth``."""

    def __init__(self, volumes=(2, 1), depth: int = 5) -> None:
        self.items = [{"domain": "AB"[d]} for d, count in enumerate(volumes) for _ in range(count)]
        self.index = [SliceIndex(item, z, depth) for item in range(len(self.items)) for z in range(depth)]
        random = torch.Generator().manual_seed(0)
        self.images = torch.rand(len(self.index), 1, 16, 16, generator=random) * 2 - 1

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.images[index]}


@pytest.fixture
def network() -> DisentangledNetwork:
    torch.manual_seed(0)
    return DisentangledNetwork(
        anatomy_encoder=nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.Dropout(0.5)),
        style_encoder=StyleEncoder(channels=(4, 4), style=2, domain=2, hidden=8, grid=2),
        decoder=AdainDecoder(anatomy_channels=5, style=4, channels=4, hidden=8),
        classes=3,
        domains=2,
    )


def run(handler, epochs: int) -> None:
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.run([0], max_epochs=epochs)


def test_pictures_come_every_few_epochs_and_leave_training_as_it_was(network, tmp_path):
    handler = DisentanglementPictures(network, Slices(), tmp_path, every=2, columns=3)
    network.train()
    before, weights = torch.get_rng_state(), {k: v.clone() for k, v in network.state_dict().items()}
    run(handler, epochs=5)
    assert torch.equal(before, torch.get_rng_state())
    assert all(module.training for module in network.modules())
    assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [
        f"{kind}_{epoch:05d}.png" for kind in ("anatomy", "reconstruction", "swaps") for epoch in (2, 4)
    ]
    assert list((tmp_path / "tensorboard" / "pictures").glob("events*"))
    with Image.open(tmp_path / "pictures" / "swaps_00004.png") as picture:
        assert picture.width <= 1024 and picture.height > 4 * 64


def test_sheets_show_what_the_network_makes_of_the_slices(network, tmp_path, monkeypatch):
    monkeypatch.setattr(disentanglement_pictures, "labelled_grid", lambda *arguments, **_: arguments)
    slices = Slices()
    handler = DisentanglementPictures(network, slices, tmp_path, columns=3, labels=["air", "heart", "lung"])
    sheets = handler.draw()
    network.eval()
    image = slices.images[handler.chosen]
    with torch.no_grad():
        output = network(image)
    domains = ["A", "A", "B"]
    images, rows, columns = sheets["reconstruction"]
    assert (rows, columns) == (["image", "reconstruction"], domains)
    assert torch.equal(images, torch.cat([image, output.reconstruction]))
    images, rows, columns = sheets["anatomy"]
    assert rows == ["image", "air", "heart", "lung", "channel 4", "channel 5"] and columns == domains
    channels = (images.reshape(6, 3, 16, 16)[1:] + 1) / 2
    assert torch.allclose(channels.sum(0), torch.ones(3, 16, 16), atol=1e-5)
    assert torch.allclose(channels[2], output.anatomy.softmax(1)[:, 2], atol=1e-6)
    images, rows, columns = sheets["swaps"]
    grid = images.reshape(4, 4, 1, 16, 16)
    assert (rows, columns) == (["style of", *domains], ["anatomy of", *domains])
    assert torch.equal(grid[0, 1:], image) and torch.equal(grid[1:, 0], image)
    assert torch.allclose(grid[[1, 2, 3], [1, 2, 3]], output.reconstruction, atol=1e-5)


def test_a_swap_has_the_anatomy_of_the_row_and_the_style_of_the_column(network):
    network.eval()
    image = Slices().images[[0, 4, 7]]
    with torch.no_grad():
        swaps = style_swaps(network, network(image))
        codes = network.style_encoder(image[2:3])
        anatomy = network.encode_anatomy(image[1:2])
        expected = network.decode(anatomy, codes.style.mean, codes.domain.mean)[0]
    assert swaps.shape == (3, 3, 1, 16, 16)
    assert torch.allclose(swaps[1, 2], expected, atol=1e-5)
    assert not torch.allclose(swaps[2, 1], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("volumes", "count", "expected"),
    [
        ((2, 1), 3, [2, 7, 12]),  # the middle slice of every volume
        ((1, 1), 4, [1, 3, 6, 8]),  # two of one volume, a third and two thirds up
        ((4, 1), 2, [2, 22]),  # one a domain
        ((1, 1), 1, [2]),  # no room for all domains
    ],
)
def test_slices_are_spread_over_domains_and_subjects(volumes, count, expected):
    assert spread_slices(Slices(volumes), count) == expected


def test_no_pictures_when_switched_off(network, tmp_path):
    run(DisentanglementPictures(network, Slices(), tmp_path, every=0), epochs=1)
    run(DisentanglementPictures(network, None, tmp_path, every=1), epochs=1)
    assert not list(tmp_path.iterdir())
