from __future__ import annotations

import zipfile

import pytest
import torch

from shared_components.networks.factory import export_generator, load_generator
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import LatentEdit
from shared_components.networks.volume_drawer import VolumeDrawer
from shared_components.networks.volume_generator import VolumeGenerator


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(
        24, 3, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01
    )
    with torch.no_grad():
        for layer in generator.layers:
            layer.noise_strength.fill_(0.3)
    generator.remember(torch.tensor([2]), torch.tensor([torch.nan]))
    return generator.eval().requires_grad_(False)


@pytest.mark.parametrize("slices", [1, 2, 7, 64, 200])
def test_without_noise_it_draws_what_the_generator_of_volumes_draws(generator, slices):
    z = torch.randn(2, 8)
    edit = LatentEdit(generator, 0.7, direction=1, strength=0.5)
    found = VolumeDrawer(generator, 1, slices, edit, noise=False)(z)
    assert torch.allclose(found, VolumeGenerator(generator, 1, slices, noise=False, edit=edit)(z), atol=1e-5)


@pytest.mark.parametrize("domain", [1, 2])
def test_domain_and_slices_of_a_call_are_those_it_could_have_been_built_with(generator, domain):
    z, one, other = torch.randn(2, 8), VolumeDrawer(generator, 0, 5), VolumeDrawer(generator, domain, 3)
    assert torch.equal(one(z, domain, 3), other(z)) and not torch.allclose(one(z, 0, 3), other(z))


def test_torchscript_takes_any_batch_domain_and_number_of_slices(generator, tmp_path):
    drawer = VolumeDrawer(generator, 0, 5, LatentEdit(generator, 0.7))
    torch.jit.save(torch.jit.script(drawer), tmp_path / "drawer.ts")
    scripted, z = torch.jit.load(tmp_path / "drawer.ts"), torch.randn(3, 8)
    assert torch.allclose(scripted(z), drawer(z), atol=1e-6) and drawer(z).shape == (3, 1, 24, 24, 5)
    for domain, slices in ((0, 1), (1, 30), (2, 4)):
        assert torch.allclose(scripted(z[:1], domain, slices), drawer(z[:1], domain, slices), atol=1e-6)


def test_torchscript_names_no_device(generator, tmp_path):
    torch.jit.save(torch.jit.script(VolumeDrawer(generator, 0, 5)), tmp_path / "drawer.ts")
    with zipfile.ZipFile(tmp_path / "drawer.ts") as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    assert b"prim.device" in code and b"torch.device(" not in code


def test_of_a_generator_that_draws_label_maps_too_it_draws_the_images():
    labelling = Generator(
        24, 1, 4, channels=(8, 6), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01, classes=3
    )
    z = torch.randn(1, 8)
    found = torch.jit.script(VolumeDrawer(labelling, 0, 3, noise=False))(z)
    assert found.shape == (1, 1, 24, 24, 3)
    assert torch.allclose(found, VolumeGenerator(labelling, 0, 3, noise=False)(z), atol=1e-5)


def test_noise_is_fixed_by_the_seed_and_of_unit_variance_at_every_height(generator):
    z, more = torch.randn(1, 8), torch.randn(1, 8)
    drawers = [VolumeDrawer(generator, 0, 9, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(drawers[0](z), drawers[1](z)) and not torch.allclose(drawers[0](z), drawers[2](z))
    assert torch.allclose(drawers[0](torch.cat([more, z]))[1:], drawers[0](z), atol=1e-5)
    heights = torch.tensor([0.0, 0.3, 0.5, 0.99, torch.nan])
    maps = torch.cat([noise.flatten(1) for noise in drawers[0].noise_at(heights)], dim=1)
    assert torch.allclose(maps.var(dim=1), torch.ones(5), atol=0.1)


def test_stacks_scroll_the_more_smoothly_the_more_slices_they_have(generator):
    drawer, z = VolumeDrawer(generator, 0, 8), torch.randn(1, 8)
    steps = [float(drawer(z, slices=n).diff(dim=-1).abs().mean()) for n in (8, 16, 64)]
    assert steps[0] > 1.5 * steps[1] > 4 * steps[2] > 0


def test_a_domain_without_heights_draws_separate_images(generator):
    z = torch.randn(1, 8)
    volume = VolumeDrawer(generator, 2, 3, noise=False)(z)
    nowhere = torch.full((3,), torch.nan)
    latents = torch.stack([z[0].roll(-n) for n in range(3)])
    images = generator(latents, torch.full((3,), 2), nowhere, "none").clamp(-1, 1)
    assert torch.allclose(volume[0].movedim(-1, 0), images, atol=1e-5)
    assert all(not torch.allclose(images[0], images[n], atol=1e-3) for n in (1, 2))


def test_it_takes_the_weights_of_a_factory_file_and_its_own(generator, tmp_path):
    export_generator(generator, tmp_path / "factory.pt", ["a", "b", "c"], {0: "x"}, 1.0, "RAS")
    weights = torch.load(tmp_path / "factory.pt", weights_only=True)["model"]
    torch.manual_seed(1)
    other = VolumeDrawer(Generator(**generator.arguments), 0, 4, noise=False)
    z = torch.randn(1, 8)
    expected = VolumeDrawer(load_generator(tmp_path / "factory.pt"), 0, 4, noise=False)(z)
    assert not torch.allclose(other(z), expected, atol=1e-3)
    del weights["slices_seen"]  # as a file of an earlier version
    other.load_state_dict(weights)
    assert torch.equal(other(z), expected)
    other.load_state_dict(VolumeDrawer(generator, 0, 4).state_dict())
    with pytest.raises(RuntimeError, match="constant"):
        other.load_state_dict({name: tensor for name, tensor in weights.items() if name != "constant"})
