"""Tissue classes of the shipped head."""

from __future__ import annotations

import numpy as np
import torch

from shared_components.data.phantoms.tissues import NECK, TISSUES, classify, load_head


def test_classify_by_level_and_place():
    t1 = np.array([40.0, 80.0, 110.0, 2.0, 30.0, 90.0, 200.0, 30.0])
    brain = np.array([True, True, True, False, False, False, False, False])
    distance = np.array([0, 0, 0, 30, 30, 30, 30, 3.0])
    names = [TISSUES[k] for k in classify(t1, brain, distance)]
    assert names == ["CSF", "GM", "WM", "air", "bone", "soft", "fat", "CSF"]


def test_head_at_one_millimetre():
    head = load_head()
    assert head.t1.shape == (180, 216, 180 + 2 * NECK)
    assert np.allclose(np.abs(np.diag(head.affine)), 1)
    assert 1.6e6 < head.brain.sum() < 1.85e6  # mm^3, the shipped mask has 1.72 litres
    for k in range(len(TISSUES)):
        chosen = head.tissue == k
        assert chosen.any()
        assert torch.isclose(
            head.residual[chosen].double().mean(), torch.zeros((), dtype=torch.double), atol=1e-4
        )


def test_fine_voxels_lie_where_the_shipped_ones_do():
    head = load_head()
    coarse_voxel = np.array([45, 54, 50])
    world = 2.0 * coarse_voxel + np.array([-89.5, -124.5, -70.5])  # the shipped affine
    fine = (world - head.affine[:3, 3]) / np.diag(head.affine)[:3]
    assert np.allclose(fine, 2 * coarse_voxel + 0.5 + np.array([0, 0, 2 * NECK]))
