from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.factory import (
    FactoryNetwork,
    domain_index,
    export_generator,
    factory_description,
    load_generator,
)
from shared_components.networks.generator import Generator
from shared_components.networks.style_layers import rms_normalise


@pytest.fixture
def generator() -> Generator:
    return Generator(24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01)


def exported(generator, tmp_path):
    return export_generator(
        generator, tmp_path / "factory.pt", ["north", "south"], {0: "a", 1: "b"}, 4.5, "RAS"
    )


def test_average_follows_the_generator(generator):
    network = FactoryNetwork(generator, Discriminator(24, 2, 4, (8, 8, 6, 4), width=12))
    before = network.generator_ema.constant.clone()
    assert torch.equal(before, generator.constant)
    with torch.no_grad():
        generator.constant.add_(1.0)
    network.update_average(0.75)
    assert torch.allclose(network.generator_ema.constant, before + 0.25)
    assert not any(p.requires_grad for p in network.generator_ema.parameters())


def test_a_factory_file_rebuilds_the_generator(generator, tmp_path):
    path = exported(generator, tmp_path)
    loaded = load_generator(path)
    condition = torch.randn(2, 8), torch.tensor([0, 1]), torch.tensor([0.2, 0.9])
    assert torch.equal(loaded(*condition, "none"), generator(*condition, "none"))
    assert factory_description(path)["spacing"] == 4.5 and domain_index(path, "south") == 1
    with pytest.raises(InputError, match=r"'east'.*name one of them"):
        domain_index(path, "east")


def test_files_that_are_no_factory_are_refused(generator, tmp_path):
    with pytest.raises(InputError, match="found none"):
        load_generator(tmp_path / "none.pt")
    save_tensors(tmp_path / "other.pt", {"model": {}})
    with pytest.raises(InputError, match="expected a factory file"):
        load_generator(tmp_path / "other.pt")
    content = load_tensors(exported(generator, tmp_path))
    content["description"]["generator"]["w_dim"] = 16
    save_tensors(tmp_path / "misfit.pt", content)
    with pytest.raises(InputError, match="do not fit the file's own description"):
        load_generator(tmp_path / "misfit.pt")


def test_a_file_of_an_earlier_version_draws_its_bins_at_their_centres(generator, tmp_path):
    content = load_tensors(exported(generator, tmp_path))
    del content["model"]["slices_seen"]
    save_tensors(tmp_path / "earlier.pt", content)
    loaded = load_generator(tmp_path / "earlier.pt")
    assert not loaded.is_flat(0)
    z, domain, bins = torch.randn(4, 8), torch.tensor([0, 1, 0, 1]), torch.arange(4)
    hot = torch.cat([F.one_hot(domain, 2), F.one_hot(bins, 4)], dim=1).float()
    embedded = rms_normalise(loaded.condition.linear(hot))
    w = loaded.mapping_network(torch.cat([rms_normalise(z), embedded], dim=1))
    assert torch.equal(loaded.mapping(z, domain, (bins + 0.5) / 4), w)


def test_the_average_knows_what_the_generator_has_seen(generator):
    network = FactoryNetwork(generator, Discriminator(24, 2, 4, (8, 8, 6, 4), width=12))
    generator.remember(torch.tensor([1, 1]), torch.tensor([torch.nan, torch.nan]))
    assert generator.slices_seen.tolist() == [[0, 0], [1, 0]] and int(generator.updates) == 1
    network.update_average(0.9)
    assert network.generator_ema.is_flat(1) and not network.generator_ema.is_flat(0)
