"""Vessels: growth laws, painting against a brute-force distance, and the three looks."""

from __future__ import annotations

import numpy as np
import pytest

from shared_components.data.phantoms import vessels
from shared_components.data.phantoms.cases import Case, make_grid
from shared_components.data.phantoms.vessel_trees import Growth, Tree, grow_tree, paint

GROWTH = Growth(3.0, 1.0, 0.1, (4, 8), (30, 60))
BOX = np.full(3, 40.0)


def _case(domain: str, index: int = 0) -> Case:
    return Case(vessels.SCENARIO, domain, "training", index, seed=0)


def _tree(growth: Growth = GROWTH) -> Tree:
    return grow_tree(np.random.default_rng(0), growth, np.zeros(3), np.array([1.0, 0, 0]), -BOX, BOX)


def test_trees_branch_and_thin_out():
    tree = _tree()
    assert np.isclose(np.linalg.norm(tree.points[0]), tree.radii[0] / 2)
    assert len(np.unique(tree.radii)) > 5
    assert tree.radii.min() >= GROWTH.thinnest
    assert tree.radii[0] == tree.radii.max()


def test_murrays_law_at_the_first_fork():
    # branches grow in the order of their forks
    root, larger, smaller = list(dict.fromkeys(_tree().radii))[:3]
    assert larger**3 + smaller**3 == pytest.approx(root**3)
    assert 0.5 <= smaller / larger <= 0.95


def test_flat_trees_stay_in_their_plane():
    flat = Growth(3.0, 1.0, 0.2, (4, 8), (30, 60), flat=True)
    assert np.all(_tree(flat).points[:, 2] == 0)


def test_paint_measures_the_distance_to_the_nearest_wall():
    tree = Tree(np.array([[0.0, 0, 0], [3, 1, 0], [-6, 2, 2]]), np.array([2.0, 1.5, 1.0]))
    grid = make_grid(np.zeros(3), np.full(3, 20.0), np.array([1.0, 1.0, 2.0]), "LPS")
    lumen = paint([tree], grid, margin=3.0)
    away = np.linalg.norm(grid.fine_points()[..., None, :] - tree.points, axis=-1) - tree.radii
    assert np.allclose(lumen.distance, np.minimum(away.min(-1), 3.0), atol=1e-4)
    near = away.min(-1) < 2.9
    assert np.allclose(lumen.radius[near], tree.radii[away.argmin(-1)][near])


@pytest.mark.parametrize(("domain", "brighter"), [("mra", True), ("venography", False), ("octa", True)])
def test_looks(domain, brighter):
    image, label, _ = vessels.render(_case(domain))
    assert 56 <= image.shape[0] <= 74
    assert (image.shape[2] == 1) == (domain == "octa")
    assert set(np.unique(label)) == {0, 1}
    share = label.mean()
    assert (0.2 < share < 0.6) if domain == "octa" else (0.005 < share < 0.08)
    tissue = image[(label == 0) & (image > np.median(image[label == 0]))]
    assert (np.median(image[label == 1]) > np.median(tissue)) == brighter


def test_every_person_has_other_vessels():
    first, second = (vessels.draw_trees(_case("octa", index))[0].points for index in (0, 1))
    assert not np.allclose(first[0], second[0])
