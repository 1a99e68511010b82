"""The choice from verdicts alone."""

from __future__ import annotations

from shared_components.choice.criteria import Verdict
from shared_components.choice.rule import chosen, plausible

FOUND = {
    "plain": Verdict(implausibility=1.9, edges=1.3, steadiness=0.9, agreement=0.1),
    "strong": Verdict(implausibility=0.5, edges=0.3, steadiness=0.9, agreement=0.9),
    "adapted": Verdict(implausibility=0.7, edges=0.7, steadiness=0.9, agreement=0.8),
}


def test_of_the_plausible_the_clearest_edges_win():
    assert plausible(FOUND) == ["strong", "adapted"]
    assert chosen(FOUND) == ("adapted",)


def test_the_margin_says_what_is_plausible():
    assert chosen(FOUND, margin=0.1) == ("strong",)
    assert chosen(FOUND, margin=9) == ("plain",)


def test_of_equals_the_first_is_chosen():
    assert chosen({"a": FOUND["strong"], "b": FOUND["strong"]}, partner=None) == ("a",)


def test_the_next_one_joins_where_its_edges_are_nearly_as_clear():
    third = {name: FOUND["adapted"]._replace(edges=edges) for name, edges in (("a", 0.57), ("b", 0.6))}
    assert chosen({**FOUND, **third}) == ("adapted", "b")
    assert chosen({**FOUND, **third}, partner=0.9) == ("adapted",)
    assert chosen({name: verdict._replace(edges=0.0) for name, verdict in FOUND.items()}) == ("strong",)
