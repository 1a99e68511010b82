"""Tissue classes of the shipped head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.data.phantoms.cases import Case
from shared_components.data.phantoms.heads import PATIENTS, render
from shared_components.data.phantoms.tissues import FLUID, GREY, NECK, TISSUES, classify, load_head, patient


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


def _case(domain: str, index: int = 0) -> Case:
    return Case(PATIENTS, domain, "training", index, seed=0, coarseness=4.0)


@pytest.fixture(scope="module")
def operated():
    """The first patient of whom a part was removed."""
    found = (patient(_case("pet", index)) for index in range(10))
    return next(head for head in found if (head.brain < load_head().brain).any())


def test_t1_has_the_anatomy_of_the_template():
    assert patient(_case("t1")) is load_head()


def test_old_brains_have_withdrawn_unevenly_from_their_surface():
    head, old = load_head(), patient(_case("t2"))
    gone = (head.brain - old.brain) > 0
    assert 0.02 < gone.sum() / head.brain.sum() < 0.3 and not (old.brain > head.brain).any()
    assert (old.tissue[gone] == FLUID).all() and torch.equal(old.tissue[~gone], head.tissue[~gone])
    assert old.t1[gone].mean() < head.t1[gone].mean() and torch.equal(old.t1[~gone], head.t1[~gone])
    assert torch.equal(patient(_case("t2")).brain, old.brain)
    assert not torch.equal(patient(_case("t2", 1)).brain, old.brain)


def test_masses_are_fluid_in_a_grey_rim_and_part_of_the_brain(operated):
    head = load_head()
    new = (operated.tissue != head.tissue) & (operated.brain > 0)
    assert set(operated.tissue[new].tolist()) == {FLUID, GREY}
    assert (head.brain[new] > 0).all()


def test_what_was_removed_is_fluid_and_no_brain(operated):
    head = load_head()
    removed = (head.brain - operated.brain) > 0
    assert (operated.tissue[removed] == FLUID).all() and 0.001 < removed.sum() / head.brain.sum() < 0.1


def test_a_patient_is_rendered_as_its_scanner_sees_it():
    phantom = render(_case("t2"))
    assert phantom.label.max() == 1 and phantom.image.shape == phantom.label.shape
