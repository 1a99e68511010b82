"""Patients' heads: what is gone is fluid and no brain, what has come lies in the brain, and T1 is as it was."""

from __future__ import annotations

import pytest
import torch

from shared_components.data.phantoms.cases import Case
from shared_components.data.phantoms.heads import PATIENTS, render
from shared_components.data.phantoms.tissues import FLUID, GREY, load_head, patient


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
