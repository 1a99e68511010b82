from __future__ import annotations

import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from shared_components.data.grids import along_axes_of, grid_distance, grid_fault, same_grid

SHAPE = (11, 5, 5)
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])


def moved(axis: int, by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[axis, 3] += by
    return affine


def test_distance_of_grids_is_that_of_the_farthest_corner_in_voxels():
    affine = torch.from_numpy(AFFINE)
    scaled = torch.diag(torch.tensor([2.1, 3.0, 4.0, 1.0]))
    assert grid_distance(affine, scaled, SHAPE) == pytest.approx(10 * 0.1 / 2, rel=1e-5)
    assert grid_distance(AFFINE, moved(1, 6.0), SHAPE) == pytest.approx(3.0)


def test_the_tolerance_is_a_twentieth_of_the_smallest_voxel_edge():
    assert same_grid(SHAPE, moved(2, 0.09), SHAPE, AFFINE)
    assert grid_fault(SHAPE, moved(2, 0.11), SHAPE, AFFINE) == (
        "another affine: corners lie up to 0.055 voxels apart"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_affine_that_is_not_finite_is_no_grid(bad):
    assert not same_grid(SHAPE, moved(0, bad), SHAPE, AFFINE)


def test_ones_at_the_end_of_a_shape_do_not_count():
    assert same_grid((11, 5), AFFINE, (11, 5, 1, 1), AFFINE)
    assert grid_fault((11, 5, 5, 2), AFFINE, SHAPE, AFFINE) == "has 11×5×5×2 voxels, expected 11×5×5"


@pytest.mark.parametrize("codes", ["LPS", "SAL", "PIR"])
def test_a_volume_in_other_axes_comes_back_to_the_same_grid(codes):
    voxels = np.random.default_rng(0).random((*SHAPE, 2))
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(codes))
    stored, affine = along_axes_of(voxels, AFFINE, AFFINE @ inv_ornt_aff(turn, SHAPE))
    assert not same_grid(stored.shape, affine, voxels.shape, AFFINE)
    back, back_affine = along_axes_of(stored, affine, AFFINE)
    np.testing.assert_array_equal(back, voxels)
    np.testing.assert_allclose(back_affine, AFFINE, atol=1e-9)
