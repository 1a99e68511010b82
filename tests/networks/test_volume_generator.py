from __future__ import annotations

import pytest
import torch

from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import LatentEdit
from shared_components.networks.latent_means import mean_at, means_by_position
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(
        24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01
    )
    with torch.no_grad():
        for layer in generator.layers:
            layer.noise_strength.fill_(0.3)
    return generator


def test_volumes_repeat_for_the_same_latent(generator):
    z = sample_latents(2, 8, seed=5)
    volumes = VolumeGenerator(generator, domain=1, slices=7)
    drawn = volumes(torch.stack(z))
    assert drawn.shape == (2, 1, 24, 24, 7) and float(drawn.abs().max()) <= 1
    assert torch.equal(volumes(z[1][None])[0], drawn[1])


def test_every_slice_is_drawn_at_its_height(generator):
    z = sample_latents(1, 8, seed=5)[0]
    heights = torch.tensor([0.125, 0.375, 0.625, 0.875])
    w = generator.mapping(z.expand(4, -1), torch.ones(4, dtype=torch.long), heights)
    assert torch.equal(VolumeGenerator(generator, 1, slices=4).w_plus(z), generator.to_w_plus(w))
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
    alone = generator.mapping(z[None], torch.tensor([1]), torch.tensor([torch.nan]))
    assert torch.allclose(flat[:1], generator.to_w_plus(alone), atol=1e-6)
    assert all(not torch.allclose(flat[n], flat[0], atol=1e-2) for n in (1, 2))
    twin = VolumeGenerator(generator, 0, slices=3, separate=True)
    assert torch.equal(twin._latents(z), VolumeGenerator(generator, 1, slices=3)._latents(z))
    generator.remember(torch.tensor([1]), torch.tensor([0.3]))
    assert not generator.is_flat(1) and not VolumeGenerator(generator, 1, slices=3).separate


def test_fully_truncated_every_latent_gives_the_mean_volume(generator):
    volumes = VolumeGenerator(generator, 1, slices=4, edit=LatentEdit(generator, truncation=0.0))
    heights, domain = generator.heights(1, 4), torch.ones(4, dtype=torch.long)
    mean = generator.to_w_plus(mean_at(means_by_position(generator), domain, heights))
    for z in sample_latents(2, 8, seed=5):
        assert torch.allclose(volumes.w_plus(z), mean, atol=1e-6)
    assert not torch.allclose(mean[0], mean[-1], atol=1e-3)  # it still scrolls


def test_truncated_twins_keep_their_latent_and_noise(generator):
    z = sample_latents(1, 8, seed=5)[0]
    drawn = [VolumeGenerator(generator, k, 5, edit=LatentEdit(generator, 0.5)) for k in (0, 1)]
    means = means_by_position(generator)
    for domain, twin in enumerate(drawn):
        number, heights = torch.full((5,), domain), generator.heights(domain, 5)
        off = VolumeGenerator(generator, domain, 5).w_plus(z)[:, 0] - mean_at(means, number, heights)
        assert torch.allclose(twin.w_plus(z)[:, 0] - mean_at(means, number, heights), 0.5 * off, atol=1e-5)
    assert not torch.equal(drawn[0](z[None]), drawn[1](z[None]))


def test_latents_repeat_with_the_seed():
    assert torch.equal(torch.stack(sample_latents(3, 4, 1)), torch.stack(sample_latents(3, 4, 1)))
    assert not torch.equal(torch.stack(sample_latents(3, 4, 1)), torch.stack(sample_latents(3, 4, 2)))
