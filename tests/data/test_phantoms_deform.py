"""Random warps: limits, smoothness, and a template sampled where it must be."""

from __future__ import annotations

import numpy as np
import torch

from shared_components.data.phantoms.cases import make_grid, oblique_rotation
from shared_components.data.phantoms.deform import (
    Warp,
    evaluate,
    random_displacement,
    random_warp,
    sample_template,
)

LOWER, UPPER, CENTRE = np.full(3, -60.0), np.full(3, 60.0), np.zeros(3)


def _jacobian_determinants(warp: Warp, points: np.ndarray, step: float = 0.5) -> np.ndarray:
    columns = [(warp(points + step * axis) - warp(points - step * axis)) / (2 * step) for axis in np.eye(3)]
    return np.linalg.det(np.stack(columns, axis=-1))


def test_without_amplitude_the_warp_is_the_identity():
    warp = random_warp(
        np.random.default_rng(0), LOWER, UPPER, CENTRE, degrees=0, scaling=0, shear=0, elastic=((20.0, 0.0),)
    )
    points = np.random.default_rng(1).uniform(-50, 50, (40, 3))
    assert np.allclose(warp(points), points)


def test_displacement_has_the_asked_amplitude():
    field = random_displacement(np.random.default_rng(0), LOWER, UPPER, 12.0, 3.0)
    inside = np.random.default_rng(1).uniform(-55, 55, (4000, 3))
    assert 2.4 < field(inside).std() < 3.6


def test_random_warps_never_fold():
    points = np.random.default_rng(0).uniform(-55, 55, (3000, 3))
    for seed in range(5):
        determinants = _jacobian_determinants(
            random_warp(np.random.default_rng(seed), LOWER, UPPER, CENTRE), points
        )
        assert determinants.min() > 0.1


def test_evaluate_is_exact_for_affine_functions():
    grid = make_grid(CENTRE, np.full(3, 40.0), np.array([2.0, 3.0, 4.0]), "LPS")
    matrix = np.random.default_rng(0).normal(size=(3, 3))
    values = evaluate(lambda points: points @ matrix.T + 1, grid).numpy()
    expected = np.moveaxis(grid.fine_points() @ matrix.T + 1, -1, 0)
    assert np.allclose(values, expected, atol=1e-3)


def test_sampling_reads_the_template_at_world_coordinates():
    axes = [np.arange(n, dtype=np.float32) for n in (30, 32, 28)]
    ramp = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij")))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-30, -32, -28]
    identity = Warp(np.eye(3), CENTRE, ())
    grid = make_grid(
        CENTRE, np.full(3, 24.0), np.full(3, 3.0), "LPS", oblique_rotation(np.random.default_rng(0))
    )
    sampled = sample_template(ramp, affine, identity, grid).numpy()
    expected = (np.moveaxis(grid.fine_points(), -1, 0) - affine[:3, 3, None, None, None]) / 2
    assert np.allclose(sampled, expected, atol=1e-3)
