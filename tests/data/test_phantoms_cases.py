"""Which volumes a scenario has, how they are stored, and what a user may write for their numbers."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from shared_components.data.phantoms.cases import (
    Case,
    Grid,
    PhantomRoot,
    make_grid,
    oblique_rotation,
    subject_counts,
)
from shared_components.errors import InputError

DEFAULTS = {"a": (20, 4, 6), "b": (10, 2, 3)}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, DEFAULTS),
        (8, {"a": (8, 1, 2), "b": (8, 1, 2)}),
        (1, {"a": (1, 1, 1), "b": (1, 1, 1)}),
        ((3, 0, 1), {"a": (3, 0, 1), "b": (3, 0, 1)}),
        ({"b": [5, 1, 2]}, {"a": (20, 4, 6), "b": (5, 1, 2)}),
    ],
)
def test_subject_counts(written, expected):
    assert subject_counts(written, DEFAULTS) == expected


@pytest.mark.parametrize("written", [(1, 2), -1, "many", 2.5, True, (1, 2, "x")])
def test_subject_counts_refuses_other_values(written):
    with pytest.raises(InputError, match="one number or training,validation,test"):
        subject_counts(written, DEFAULTS)


def test_subject_counts_refuses_an_unknown_domain():
    with pytest.raises(InputError, match="unknown domain 'c'; this scenario has a, b"):
        subject_counts({"c": 3}, DEFAULTS)


def test_cases_vary_in_storage():
    cases = PhantomRoot("a", "MRI", (5, 2, 3), ("test",)).cases("scenario", 0, 1.0)
    assert {case.codes for case in cases} == {"RAS", "LPS"}
    assert [case.name for case in cases if case.oblique] == ["a_training_002", "a_test_002"]
    assert [case.name for case in cases if case.suffix == ".nii"] == ["a_training_005"]
    assert {case.split for case in cases if case.labelled} == {"test"}
    assert len({case.name for case in cases}) == 10


def test_generators_differ_between_cases_and_repeat_for_one():
    case = Case("scenario", "a", "training", 0, seed=0)
    others = [
        Case("scenario", "a", "training", 1, seed=0),
        Case("scenario", "a", "test", 0, seed=0),
        Case("scenario", "b", "training", 0, seed=0),
        Case("scenario", "a", "training", 0, seed=1),
    ]
    first = case.generator("anatomy").normal(size=4)
    assert np.array_equal(first, case.generator("anatomy").normal(size=4))
    assert not np.allclose(first, case.generator("look").normal(size=4))
    for other in others:
        assert not np.allclose(first, other.generator("anatomy").normal(size=4))


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
