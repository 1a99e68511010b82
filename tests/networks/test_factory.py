from __future__ import annotations

import pytest
import torch

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
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents


@pytest.fixture
def generator() -> Generator:
    return Generator(24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2)


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
    z, index = torch.randn(2, 8), torch.tensor([0, 1])
    assert torch.equal(loaded(z, index, index, "none"), generator(z, index, index, "none"))
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


def test_volumes_interpolate_between_positions_and_repeat_for_the_same_latent(generator):
    with torch.no_grad():
        for layer in generator.layers:
            layer.noise_strength.fill_(0.3)
    z = sample_latents(2, 8, seed=5)
    volumes = VolumeGenerator(generator, domain=1, slices=7)
    drawn = volumes(torch.stack(z))
    assert drawn.shape == (2, 1, 24, 24, 7) and float(drawn.abs().max()) <= 1
    assert torch.equal(volumes(z[1][None])[0], drawn[1])
    exact = VolumeGenerator(generator, domain=1, slices=4)
    index = torch.arange(4)
    w = generator.mapping(z[0].expand(4, -1), torch.ones(4, dtype=torch.long), index)
    assert torch.allclose(exact.w_plus(z[0]), generator.to_w_plus(w), atol=1e-6)
    middle = VolumeGenerator(generator, domain=1, slices=8).w_plus(z[0])
    assert torch.allclose(middle[2], 0.75 * exact.w_plus(z[0])[1] + 0.25 * exact.w_plus(z[0])[0], atol=1e-6)


def test_latents_repeat_with_the_seed():
    assert torch.equal(torch.stack(sample_latents(3, 4, 1)), torch.stack(sample_latents(3, 4, 1)))
    assert not torch.equal(torch.stack(sample_latents(3, 4, 1)), torch.stack(sample_latents(3, 4, 2)))
