"""Image grids against nibabel's own reading of an affine."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from shared_components.data.phantoms.cases import Grid, make_grid, oblique_rotation

SPACING = np.array([2.0, 2.5, 4.0])
EXTENT = np.array([20.0, 30.0, 24.0])
CENTRE = np.array([5.0, -7.0, 11.0])


@pytest.mark.parametrize("codes", ["RAS", "LPS"])
@pytest.mark.parametrize("tilted", [False, True])
def test_grid_has_the_asked_geometry(codes, tilted):
    rotation = oblique_rotation(np.random.default_rng(0)) if tilted else None
    grid = make_grid(CENTRE, EXTENT, SPACING, codes, rotation)
    assert grid.shape == (10, 12, 6)
    assert "".join(nib.aff2axcodes(grid.affine)) == codes
    assert np.allclose(grid.spacing, SPACING, atol=1e-5)
    middle = grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1]
    assert np.allclose(middle[:3], CENTRE, atol=1e-4)
    angle = np.rad2deg(nib.affines.obliquity(grid.affine).max())
    assert (9.9 <= angle <= 15.1) if tilted else np.isclose(angle, 0, atol=1e-3)


def test_affine_survives_single_precision():
    grid = make_grid(CENTRE, EXTENT, SPACING, "LPS", oblique_rotation(np.random.default_rng(1)))
    assert np.array_equal(grid.affine, grid.affine.astype(np.float32))


def test_samples_of_a_voxel_surround_its_centre():
    grid = make_grid(CENTRE, EXTENT, SPACING, "LPS", supersample=(2, 1, 3))
    points = torch.from_numpy(np.moveaxis(grid.fine_points(), -1, 0))
    centres = grid.pool(points).numpy()  # (3, X, Y, Z)
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    expected = np.tensordot(grid.affine[:3, :3], indices, 1) + grid.affine[:3, 3, None, None, None]
    assert np.allclose(centres, expected, atol=1e-9)


def test_sparse_lattice_spans_the_samples():
    grid = make_grid(CENTRE, EXTENT, SPACING)
    dense, sparse = grid.fine_points(), grid.fine_points(every=6.0)
    assert sparse.size < dense.size / 20
    for corner in ((0, 0, 0), (-1, -1, -1)):
        assert np.allclose(dense[corner], sparse[corner])


def test_pool_is_the_mean_of_the_samples():
    grid = Grid(np.eye(4), (1, 1, 2), (2, 1, 2))
    samples = torch.tensor([[[[1.0, 2.0, 5.0, 6.0]], [[3.0, 4.0, 7.0, 8.0]]]])
    assert grid.pool(samples).flatten().tolist() == [2.5, 6.5]
