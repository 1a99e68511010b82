from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.networks.style_layers import fir_upsample, resolutions


def small(size: int = 24, channels=(8, 8, 6, 4), common_rows: int = 0) -> Generator:
    return Generator(
        size,
        domains=3,
        positions=5,
        channels=channels,
        z_dim=8,
        w_dim=12,
        mapping_layers=2,
        mapping_lr=0.01,
        common_rows=common_rows,
    )


def drawn(generator: Generator, batch: int = 2):
    z = torch.randn(batch, generator.z_dim)
    return z, torch.arange(batch) % 3, (torch.arange(batch) % 5 + 0.5) / 5


def test_resolutions_of_48_and_64():
    assert resolutions(48, 5) == (3, 6, 12, 24, 48)
    assert resolutions(64, 5) == (4, 8, 16, 32, 64)
    with pytest.raises(InputError, match=r"image_size 50 with 5 channels: .* or the number of channels"):
        resolutions(50, 5)
    with pytest.raises(InputError, match="base of at least 3"):
        resolutions(16, 4)


@pytest.mark.parametrize(
    ("size", "channels"), [(24, (8, 8, 6, 4)), (32, (8, 8, 8, 4)), (48, (8, 8, 8, 8, 4))]
)
def test_shapes(size, channels):
    generator = small(size, channels)
    out = generator.synthesis(generator.w_plus(*drawn(generator)))
    assert out.image.shape == (2, 1, size, size)
    assert generator.rows == 2 * len(channels)
    assert [tuple(f.shape[1:]) for f in out.features] == [
        (c, s, s) for c, s in zip(channels, generator.sizes, strict=True)
    ]


def test_rows_of_w_plus_act_from_coarse_to_fine_and_all_of_them_count():
    generator = small()
    with torch.no_grad():
        generator.image_bias.zero_()
    w_plus = generator.w_plus(*drawn(generator, 1)).clone()
    base = generator.synthesis(w_plus, "none")
    for row in range(generator.rows):
        changed = w_plus.clone()
        changed[:, row] += 1.0
        out = generator.synthesis(changed, "none")
        assert not torch.allclose(out.image, base.image), row
        first = (row + 1) // 2  # the resolution whose features the row can change first
        for level in range(first):
            assert torch.equal(out.features[level], base.features[level]), (row, level)


def test_a_styles_scale_reaches_the_image_through_the_last_layers_alone():
    """Demodulation takes it out of the features, and would take it out of the image."""
    generator, w = small(), torch.randn(2, 12)
    for layer, factor in ((generator.to_image[0], 2.0), (generator.layers[0].convolution, 1.0)):
        x = torch.randn(2, layer.weight.shape[1], 3, 3)
        with torch.no_grad():
            before = layer(x, w)
            layer.affine.weight *= 2
            layer.affine.bias *= 2
            assert torch.allclose(layer(x, w), factor * before, rtol=1e-4, atol=1e-5)


def test_condition_changes_the_image_and_style_does_not_depend_on_the_scale_of_z():
    generator = small()
    z = torch.randn(1, 8)
    zero, one, low, high, none = (torch.tensor([value]) for value in (0, 1, 0.1, 0.3, torch.nan))
    with torch.no_grad():
        conditions = ((zero, low), (one, low), (zero, high), (zero, none))
        images = [generator(z, domain, position, "none") for domain, position in conditions]
        assert all(not torch.allclose(images[0], other) for other in images[1:])
        assert torch.allclose(generator(z * 9, zero, low, "none"), images[0], atol=1e-4)


def test_noise_counts_only_with_a_strength_and_can_be_shared():
    generator = small()
    z, domain, position = drawn(generator)
    with torch.no_grad():
        assert torch.allclose(generator(z, domain, position), generator(z, domain, position, "none"))
        for layer in generator.layers:
            layer.noise_strength.fill_(1.0)
        assert not torch.allclose(generator(z, domain, position), generator(z, domain, position))
        maps = generator.sample_noise(2, torch.Generator().manual_seed(3))
        again = generator.sample_noise(2, torch.Generator().manual_seed(3))
        assert torch.equal(generator(z, domain, position, maps), generator(z, domain, position, again))


def test_inject_sees_every_resolution_and_its_result_goes_on():
    generator = small()
    seen = []

    def zero_at_level_one(level, features):
        seen.append((level, features.shape[-1]))
        return torch.zeros_like(features) if level == 1 else features

    out = generator.synthesis(torch.randn(1, 8, 12), "none", zero_at_level_one)
    assert seen == list(enumerate(generator.sizes))
    assert float(out.features[1].abs().max()) == 0


def test_common_rows_and_what_they_draw_are_the_same_in_every_domain():
    generator = small(common_rows=4)
    z, height = torch.randn(3, 8), torch.rand(3)
    one, other = (generator.w_plus(z, torch.full((3,), domain), height) for domain in (0, 1))
    assert torch.equal(one[:, :4], other[:, :4]) and not torch.allclose(one[:, 4:], other[:, 4:], atol=1e-3)
    assert torch.equal(one[:, 4], generator.mapping(z, torch.zeros(3, dtype=torch.long), height))
    higher = generator.w_plus(z, torch.zeros(3, dtype=torch.long), height / 2)
    assert not torch.allclose(one[:, :4], higher[:, :4], atol=1e-5)  # they are told the height
    drawn = [generator.synthesis(w_plus, "none").features for w_plus in (one, other)]
    assert [torch.equal(*pair) for pair in zip(*drawn, strict=True)] == [True, True, False, False]


@pytest.mark.parametrize("rows", [-1, 8])
def test_some_row_must_be_told_the_domain(rows):
    with pytest.raises(InputError, match=rf"common_rows: expected 0 to 7, .*, found {rows}"):
        small(common_rows=rows)


def test_latent_mean_is_reproducible_and_depends_on_the_domain():
    generator = small()
    means = [generator.latent_mean(d, 64, torch.Generator().manual_seed(0)) for d in (0, 0, 1)]
    assert (
        means[0].shape == (8, 12)
        and torch.equal(means[0], means[1])
        and not torch.allclose(means[0], means[2])
    )


def test_wrong_input_is_named():
    generator = small()
    with pytest.raises(ValueError, match=r"w_plus: expected \(B, 8, 12\)"):
        generator.synthesis(torch.randn(1, 3, 12))
    with pytest.raises(ValueError, match=r"heights in \[0, 1\] as floats, found torch.int64"):
        generator(torch.randn(1, 8), torch.tensor([0]), torch.tensor([3]))
    with pytest.raises(ValueError, match="'random', 'none'"):
        generator.synthesis(torch.randn(1, 8, 12), noise="some")


def test_coarse_levels_are_prefixes_of_the_synthesis():
    generator = small()
    w_plus = torch.randn(2, 12)[:, None].repeat(1, 8, 1)
    full, coarse = generator.synthesis(w_plus, "none"), generator.synthesis(w_plus, "none", level=1)
    assert coarse.image.shape == (2, 1, 6, 6) and len(coarse.features) == 2
    assert torch.equal(coarse.features[1], full.features[1])
    faded = generator.synthesis(w_plus, "none", level=2, fade=0.0).image
    assert torch.allclose(faded, fir_upsample(coarse.image), atol=1e-6)
