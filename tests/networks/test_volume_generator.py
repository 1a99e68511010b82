from __future__ import annotations

import zipfile

import pytest
import torch

from shared_components.networks.factory import export_generator, load_generator
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import LatentEdit, mean_at, means_by_position
from shared_components.networks.volume_generator import VolumeDrawer, VolumeGenerator, sample_latents
from tests.networks.small import small_generator


@pytest.fixture
def generator() -> Generator:
    return small_generator(noise=0.3)


def test_volumes_repeat_for_the_same_latent(generator):
    z = sample_latents(2, 8, seed=5)
    volumes = VolumeGenerator(generator, domain=1, slices=7)
    drawn = volumes(torch.stack(z))
    assert drawn.shape == (2, 1, 24, 24, 7) and float(drawn.abs().max()) <= 1
    assert torch.equal(volumes(z[1][None])[0], drawn[1])


def test_every_slice_is_drawn_at_its_height(generator):
    z = sample_latents(1, 8, seed=5)[0]
    heights = torch.tensor([0.125, 0.375, 0.625, 0.875])
    w_plus = generator.w_plus(z.expand(4, -1), torch.ones(4, dtype=torch.long), heights)
    assert torch.equal(VolumeGenerator(generator, 1, slices=4).w_plus(z), w_plus)
    assert generator.heights(1, 1).tolist() == [0.5]


@pytest.mark.parametrize("noise", [False, True])
def test_a_volume_scrolls_the_more_smoothly_the_more_slices_it_has(generator, noise):
    z = sample_latents(1, 8, seed=5)[0][None]
    steps = []
    for slices in (8, 16, 64):
        volume = VolumeGenerator(generator, 0, slices, noise=noise)(z)
        steps.append(float(volume.diff(dim=-1).abs().mean()))
    assert steps[0] > 1.5 * steps[1] > 4 * steps[2] > 0


def test_noise_has_unit_variance_at_every_height_and_is_drawn_at_the_learnt_positions(generator):
    maps = VolumeGenerator(generator, 0, slices=50)._noise(torch.Generator().manual_seed(3))
    assert all(float(m.flatten(1).var(1).mean()) == pytest.approx(1, abs=0.15) for m in maps[3:])
    drawn = generator.sample_noise(4, torch.Generator().manual_seed(3))
    exact = VolumeGenerator(generator, 0, slices=4)._noise(torch.Generator().manual_seed(3))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(drawn, exact, strict=True))


def test_a_domain_without_heights_draws_separate_images(generator):
    generator.remember(torch.tensor([1]), torch.tensor([torch.nan]))
    z = sample_latents(1, 8, seed=5)[0]
    flat = VolumeGenerator(generator, 1, slices=3).w_plus(z)
    alone = generator.w_plus(z[None], torch.tensor([1]), torch.tensor([torch.nan]))
    assert torch.allclose(flat[:1], alone, atol=1e-6)
    assert all(not torch.allclose(flat[n], flat[0], atol=1e-2) for n in (1, 2))
    twin = VolumeGenerator(generator, 0, slices=3, separate=True)
    assert torch.equal(twin._latents(z), VolumeGenerator(generator, 1, slices=3)._latents(z))
    generator.remember(torch.tensor([1]), torch.tensor([0.3]))
    assert not generator.is_flat(1) and not VolumeGenerator(generator, 1, slices=3).separate


def test_fully_truncated_every_latent_gives_the_mean_volume(generator):
    volumes = VolumeGenerator(generator, 1, slices=4, edit=LatentEdit(generator, truncation=0.0))
    heights, domain = generator.heights(1, 4), torch.ones(4, dtype=torch.long)
    mean = mean_at(means_by_position(generator), domain, heights)
    for z in sample_latents(2, 8, seed=5):
        assert torch.allclose(volumes.w_plus(z), mean, atol=1e-6)
    assert not torch.allclose(mean[0], mean[-1], atol=1e-3)  # it still scrolls


def test_truncated_twins_keep_their_latent_and_noise(generator):
    z = sample_latents(1, 8, seed=5)[0]
    drawn = [VolumeGenerator(generator, k, 5, edit=LatentEdit(generator, 0.5)) for k in (0, 1)]
    means = means_by_position(generator)
    for domain, twin in enumerate(drawn):
        number, heights = torch.full((5,), domain), generator.heights(domain, 5)
        off = VolumeGenerator(generator, domain, 5).w_plus(z) - mean_at(means, number, heights)
        assert torch.allclose(twin.w_plus(z) - mean_at(means, number, heights), 0.5 * off, atol=1e-5)
    assert not torch.equal(drawn[0](z[None]), drawn[1](z[None]))


def test_latents_repeat_with_the_seed():
    assert torch.equal(torch.stack(sample_latents(3, 4, 1)), torch.stack(sample_latents(3, 4, 1)))
    assert not torch.equal(torch.stack(sample_latents(3, 4, 1)), torch.stack(sample_latents(3, 4, 2)))


@pytest.fixture(params=[0, 3], ids=["own rows", "common rows"])
def three_domains(request) -> Generator:
    generator = small_generator(3, noise=0.3, common_rows=request.param)
    generator.remember(torch.tensor([2]), torch.tensor([torch.nan]))
    return generator.eval().requires_grad_(False)


@pytest.mark.parametrize("slices", [1, 2, 7, 64, 200])
def test_without_noise_it_draws_what_the_generator_of_volumes_draws(three_domains, slices):
    z = torch.randn(2, 8)
    edit = LatentEdit(three_domains, 0.7, direction=1, strength=0.5)
    found = VolumeDrawer(three_domains, 1, slices, edit, noise=False)(z)
    assert torch.allclose(
        found, VolumeGenerator(three_domains, 1, slices, noise=False, edit=edit)(z), atol=1e-5
    )


@pytest.mark.parametrize("domain", [1, 2])
def test_domain_and_slices_of_a_call_are_those_it_could_have_been_built_with(three_domains, domain):
    z, one, other = (
        torch.randn(2, 8),
        VolumeDrawer(three_domains, 0, 5),
        VolumeDrawer(three_domains, domain, 3),
    )
    assert torch.equal(one(z, domain, 3), other(z)) and not torch.allclose(one(z, 0, 3), other(z))


def test_torchscript_takes_any_batch_domain_and_number_of_slices(three_domains, tmp_path):
    drawer = VolumeDrawer(three_domains, 0, 5, LatentEdit(three_domains, 0.7))
    torch.jit.save(torch.jit.script(drawer), tmp_path / "drawer.ts")
    scripted, z = torch.jit.load(tmp_path / "drawer.ts"), torch.randn(3, 8)
    assert torch.allclose(scripted(z), drawer(z), atol=1e-6) and drawer(z).shape == (3, 1, 24, 24, 5)
    for domain, slices in ((0, 1), (1, 30), (2, 4)):
        assert torch.allclose(scripted(z[:1], domain, slices), drawer(z[:1], domain, slices), atol=1e-6)


def test_torchscript_names_no_device(three_domains, tmp_path):
    torch.jit.save(torch.jit.script(VolumeDrawer(three_domains, 0, 5)), tmp_path / "drawer.ts")
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


def test_noise_is_fixed_by_the_seed_and_of_unit_variance_at_every_height(three_domains):
    z, more = torch.randn(1, 8), torch.randn(1, 8)
    drawers = [VolumeDrawer(three_domains, 0, 9, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(drawers[0](z), drawers[1](z)) and not torch.allclose(drawers[0](z), drawers[2](z))
    assert torch.allclose(drawers[0](torch.cat([more, z]))[1:], drawers[0](z), atol=1e-5)
    heights = torch.tensor([0.0, 0.3, 0.5, 0.99, torch.nan])
    maps = torch.cat([noise.flatten(1) for noise in drawers[0].noise_at(heights)], dim=1)
    assert torch.allclose(maps.var(dim=1), torch.ones(5), atol=0.1)


def test_stacks_scroll_the_more_smoothly_the_more_slices_they_have(three_domains):
    drawer, z = VolumeDrawer(three_domains, 0, 8), torch.randn(1, 8)
    steps = [float(drawer(z, slices=n).diff(dim=-1).abs().mean()) for n in (8, 16, 64)]
    assert steps[0] > 1.5 * steps[1] > 4 * steps[2] > 0


def test_a_domain_without_heights_draws_separate_images_of_volume_drawer(three_domains):
    z = torch.randn(1, 8)
    volume = VolumeDrawer(three_domains, 2, 3, noise=False)(z)
    nowhere = torch.full((3,), torch.nan)
    latents = torch.stack([z[0].roll(-n) for n in range(3)])
    images = three_domains(latents, torch.full((3,), 2), nowhere, "none").clamp(-1, 1)
    assert torch.allclose(volume[0].movedim(-1, 0), images, atol=1e-5)
    assert all(not torch.allclose(images[0], images[n], atol=1e-3) for n in (1, 2))


def test_it_takes_the_weights_of_a_factory_file_and_its_own(three_domains, tmp_path):
    export_generator(three_domains, tmp_path / "factory.pt", ["a", "b", "c"], {0: "x"}, 1.0, "RAS")
    weights = torch.load(tmp_path / "factory.pt", weights_only=True)["model"]
    torch.manual_seed(1)
    other = VolumeDrawer(Generator(**three_domains.arguments), 0, 4, noise=False)
    z = torch.randn(1, 8)
    expected = VolumeDrawer(load_generator(tmp_path / "factory.pt"), 0, 4, noise=False)(z)
    assert not torch.allclose(other(z), expected, atol=1e-3)
    del weights["slices_seen"]  # as a file of an earlier version
    other.load_state_dict(weights)
    assert torch.equal(other(z), expected)
    other.load_state_dict(VolumeDrawer(three_domains, 0, 4).state_dict())
    with pytest.raises(RuntimeError, match="constant"):
        other.load_state_dict({name: tensor for name, tensor in weights.items() if name != "constant"})
