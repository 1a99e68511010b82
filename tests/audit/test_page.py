from __future__ import annotations

import math

import pytest

from shared_components.audit.figures import Figure
from shared_components.audit.page import cannot_tell, is_flagged, number, sentence, tells_members
from shared_components.errors import InputError
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


def test_many_slices_of_two_patients_are_no_more_than_two():
    figures = with_figures(
        membership_image=Figure(0.7, 0.6, 0.8, 0.5), training_patients=Figure(2), held_out_patients=Figure(10)
    )
    assert not tells_members(figures)
    assert "from 10 held-out volumes and 24 training volumes of 2 patients:" in sentence(figures)


def test_few_held_out_slices_are_weak_evidence_of_no_copies_but_not_of_copies():
    rough = {"memorised_by_chance_image": Figure(0.01, 0, 0.21, 0.01)}
    assert "fewer than 21 % of the slices would go unnoticed" in sentence(with_figures(**rough))
    copied = with_figures(**rough, flagged_features=Figure(1))
    assert is_flagged(copied) and "weak" not in sentence(copied)
    few = {**copied, "held_out_volumes": Figure(2)}
    assert "This is judged from 2 held-out volumes and 24 training volumes." in sentence(few)


def test_more_than_chance_gives_but_no_more_than_it_may_give_is_neither():
    figures = with_figures(
        memorised_image=Figure(0.33, 0.23, 0.46, 0.01), memorised_by_chance_image=Figure(0.01, 0, 0.84, 0.01)
    )
    assert cannot_tell(figures) and not is_flagged(figures)
    assert sentence(figures).startswith(
        "Whether it copies cannot be told: 33 % [23, 46] of the generated slices"
    )
    assert "of new slices up to 84 % may" in sentence(figures)


def test_nothing_to_compare_with():
    figures = {"training_slices": Figure(1), "held_out_slices": Figure(5), "drawn_slices": Figure(1)}
    assert cannot_tell(figures)
    assert sentence(figures).endswith("to compare with; found 1 drawn and 1 training.")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_table_that_lacks_what_a_sentence_takes_is_refused(value):
    with pytest.raises(InputError, match="expected a figure 'memorised_features', found none; audit again"):
        sentence({"memorised_image": Figure(0.1)})
    with pytest.raises(InputError, match="expected a figure 'drawn_slices', found none; audit again"):
        sentence({})
    with pytest.raises(InputError, match=f"expected a number as 'held_out_volumes', found {value}"):
        sentence(with_figures(held_out_volumes=Figure(value)))
    assert number(math.inf) == "inf"
