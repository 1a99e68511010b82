"""Scanner effects: limits and statistics."""

from __future__ import annotations

import numpy as np
import pytest

from shared_components.data.phantoms import looks

SPACING = np.array([2.0, 2.0, 4.0])


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_smooth_field_spans_at_most_one(random):
    field = looks.smooth_field(random, (60, 50, 1))
    assert field.shape == (60, 50, 1)
    assert np.abs(field).max() == pytest.approx(1)
    assert np.abs(np.diff(field, axis=0)).max() < 0.25


def test_no_strength_leaves_the_image(random):
    image = random.uniform(0, 1, (8, 9, 5))
    assert np.allclose(looks.bias_field(random, image, 0.0), image)
    assert np.allclose(looks.rician_noise(random, image, 0.0), image)
    assert np.allclose(looks.count_noise(random, image, 0.0, 2.0, SPACING), image)
    assert np.allclose(looks.ghosts(image, 0.0, 0.3), image)


def test_rician_noise_in_air_has_the_rayleigh_mean(random):
    noise = looks.rician_noise(random, np.zeros((40, 40, 20)), 0.1)
    assert noise.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)


@pytest.mark.parametrize("make", [looks.correlated_noise, looks.grainy_noise])
def test_correlated_noise_is_smooth_over_its_length(random, make):
    noise = make(random, (60, 60, 20), 6.0, SPACING)
    assert noise.std() == pytest.approx(1, abs=0.35)
    neighbours = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    apart = np.corrcoef(noise[:-15].ravel(), noise[15:].ravel())[0, 1]
    assert neighbours > 0.8
    assert abs(apart) < 0.3


def test_count_noise_grows_with_the_square_root_of_the_signal(random):
    faint = looks.count_noise(random, np.full((40, 40, 20), 1.0), 0.05, 2.0, SPACING)
    bright = looks.count_noise(random, np.full((40, 40, 20), 4.0), 0.05, 2.0, SPACING)
    assert bright.std() / faint.std() == pytest.approx(2, rel=0.05)


def test_ghosts_keep_the_mean_and_show_the_copy():
    image = np.zeros((4, 20, 1))
    image[:, 10] = 1
    ghosted = looks.ghosts(image, 0.2, 0.25)
    assert ghosted.sum() == pytest.approx(image.sum())
    assert ghosted[0, 15, 0] == pytest.approx(0.2 / 1.4)


def test_streaks_have_unit_variance_and_differ_between_slices(random):
    pattern = looks.streaks(random, (30, 32, 3), SPACING)
    assert pattern.std() == pytest.approx(1)
    assert abs(np.corrcoef(pattern[..., 0].ravel(), pattern[..., 1].ravel())[0, 1]) < 0.5
