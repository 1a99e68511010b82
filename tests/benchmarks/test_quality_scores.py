from __future__ import annotations

import pytest

from shared_components.benchmarks.quality_scores import Choice, choice_table, choices_of
from shared_components.metrics.subject_scores import SubjectScore

OURS = "adaptation"
DICE = {
    ("a", 0): {"plain": 0.6, "mild": 0.5, OURS: 0.7},
    ("a", 1): {"plain": 0.6, "mild": 0.64, OURS: 0.3},
    ("b", 0): {"plain": 0.2, "mild": 0.2, OURS: 0.9},
}
SCORES = [
    SubjectScore(seed, client, method, case, "x", value + more, 1.0)
    for (client, seed), methods in DICE.items()
    for method, value in methods.items()
    for case, more in (("s", -0.1), ("t", 0.1))
]
CHOSEN = {("a", 0): "plain", ("a", 1): "mild", ("b", 0): OURS}


def found(chosen: dict[tuple[str, int], str], candidates: list[str], more: float = 0.0) -> list[Choice]:
    """Choices that score as their first method does, and ``more``."""
    scores = list(SCORES)
    for (client, seed), words in chosen.items():
        value = DICE.get((client, seed), {}).get(words.split(" + ")[0])
        if value is not None:
            scores.append(SubjectScore(seed, client, "chosen", "s", "x", value + more, 1.0))
    return choices_of(scores, chosen, "chosen", candidates, OURS)


def test_regret_is_to_the_oracle_and_harm_to_the_best_without_a_factory():
    choices = found(CHOSEN, ["plain", "mild", OURS])
    assert [(choice.client, choice.seed, choice.oracle) for choice in choices] == [
        ("a", 0, OURS),
        ("a", 1, "mild"),
        ("b", 0, OURS),
    ]
    assert [choice.regret for choice in choices] == pytest.approx([0.1, 0.0, 0.0])
    assert [choice.harm for choice in choices] == pytest.approx([0.0, 0.0, -0.7])


def test_table_ends_with_the_mean_and_the_worst():
    table = choice_table(found({**CHOSEN, ("a", 1): OURS}, ["plain", "mild", OURS]))
    assert "| a | 1 | adaptation | 0.300 | mild | 0.640 | 0.340 | +0.340 |" in table
    assert "Regret against the oracle's choice: mean 0.147, largest 0.340;" in table
    assert "without a factory: mean -0.120, largest +0.340." in table


def test_without_a_plain_candidate_nothing_is_said_of_harm():
    table = choice_table(found({("a", 0): OURS}, [OURS]))
    assert "| a | 0 | adaptation | 0.700 | adaptation | 0.700 | 0.000 |  |" in table
    assert table.endswith("Regret against the oracle's choice: mean 0.000, largest 0.000.\n")
    some = found(CHOSEN, ["plain", "mild", OURS])
    mixed = choice_table([*some, *found({("a", 0): OURS}, [OURS])])
    assert "without a factory: mean -0.233, largest +0.000." in mixed


def test_choice_without_scores_is_left_out():
    assert found({("c", 0): "plain", ("a", 0): "other"}, ["plain", "mild"]) == []


def test_two_together_may_be_better_than_the_oracle_s():
    table = choice_table(found({("a", 0): "plain + mild"}, ["plain", "mild", OURS], more=0.15))
    assert "| a | 0 | plain + mild | 0.750 | adaptation | 0.700 | -0.050 | -0.150 |" in table
