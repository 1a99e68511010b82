from __future__ import annotations

from shared_components.audit.figures import Figure
from shared_components.audit.page import is_flagged, sentence, tells_members
from tests.report.test_study_report import HONEST


def with_figures(**changed: Figure) -> dict[str, Figure]:
    return {**HONEST, **changed}


def test_an_honest_factory():
    told = sentence(HONEST)
    assert told.startswith("No sign of copies: 2 % [1, 3]") and "weak evidence" not in told
    assert "does no better than guessing (AUC 0.54 [0.46, 0.62]; 0.5 is guessing" in told


def test_members_that_can_be_told():
    figures = with_figures(membership_image=Figure(0.7, 0.6, 0.8, 0.5))
    assert tells_members(figures) and not is_flagged(figures)
    assert "A membership attack tells training images from new ones (AUC 0.70" in sentence(figures)


def test_an_attack_that_is_worse_than_guessing_tells_that_volumes_differ():
    low = Figure(0.01, 0.0, 0.03, 0.5)
    figures = with_figures(membership_image=low, membership_features=low)
    assert not tells_members(figures)
    assert "held-out and training volumes differ by more than the training" in sentence(figures)


def test_of_few_volumes_no_membership_is_claimed():
    figures = with_figures(membership_image=Figure(0.7, 0.6, 0.8, 0.5), training_volumes=Figure(1))
    assert not tells_members(figures)
    assert "may be the difference of two patients" in sentence(figures)
    assert "weak evidence, from 10 held-out volumes and 1 training volume:" in sentence(figures)


def test_few_held_out_slices_are_weak_evidence_of_no_copies_but_not_of_copies():
    rough = {"memorised_by_chance_image": Figure(0.01, 0, 0.21, 0.01)}
    assert "fewer than 21 % of the slices would go unnoticed" in sentence(with_figures(**rough))
    copied = with_figures(**rough, flagged_features=Figure(1))
    assert is_flagged(copied) and "weak" not in sentence(copied)


def test_nothing_to_compare_with():
    assert "cannot be told" in sentence({"training_volumes": Figure(2)})
