from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.latents.projection import dissimilarity, project, ssim_window, unit_range
from shared_components.networks.generator import Generator


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(
        24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=1.0
    )
    return generator.eval().requires_grad_(False)


@pytest.fixture
def slices(generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (3, 1, 24, 24) that the generator can draw, and where to start, (3, w_dim)."""
    w = generator.mapping(torch.randn(6, 8), torch.zeros(6, dtype=torch.long), torch.full((6,), 0.5))
    return generator.synthesis(generator.to_w_plus(w[:3]), "none").image.clamp(-1, 1), w[3:]


def error(generator, w_plus, images) -> torch.Tensor:
    return (generator.synthesis(w_plus, "none").image - images).square().flatten(1).mean(1)


def test_what_the_generator_can_draw_is_found(generator, slices):
    images, start = slices
    before = error(generator, generator.to_w_plus(start), images)
    w_plus = project(generator, images, start, updates=150, rate=0.1, prior_weight=0.0)
    assert w_plus.shape == (3, 8, 12) and not w_plus.requires_grad
    assert bool((error(generator, w_plus, images) < 0.1 * before).all())


def test_slices_do_not_influence_each_other(generator, slices):
    images, start = slices
    together = project(generator, images, start, updates=20)
    alone = torch.cat(
        [project(generator, x, w, updates=20) for x, w in zip(images.split(1), start.split(1), strict=True)]
    )
    assert torch.allclose(together, alone, atol=1e-3)


def test_one_latent_for_all_rows_is_less_exact(generator, slices):
    images, start = slices
    images = images.flip(2)  # what it cannot draw
    one, own = (project(generator, images, start, 60, one_latent=single) for single in (True, False))
    assert torch.equal(one, one[:, :1].expand(-1, 8, -1)) and not torch.allclose(own[:, 0], own[:, 1])
    assert float(error(generator, one, images).mean()) > 1.1 * float(error(generator, own, images).mean())


def test_a_heavy_prior_holds_the_latents_at_their_start(generator, slices):
    images, start = slices
    off = [
        float((project(generator, images, start, 60, prior_weight=p) - start[:, None]).square().mean())
        for p in (0.0, 1.0, 1000.0)
    ]
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.01 * off[0]


def test_dissimilarity_is_none_of_equal_images_and_its_window_fits():
    images = torch.rand(2, 1, 24, 24)
    assert float(dissimilarity(24)(images, images)) == pytest.approx(0, abs=1e-6)
    assert float(dissimilarity(24)(images, 1 - images)) > 0.5
    assert [ssim_window(size) for size in (8, 9, 10, 12, 64)] == [7, 9, 9, 11, 11]
    np.testing.assert_allclose(unit_range(torch.tensor([-2.0, -1.0, 0.0, 1.0])), [0, 0, 0.5, 1])
