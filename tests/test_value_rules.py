from __future__ import annotations

import math

import pytest

from shared_components.value_rules import (
    choice,
    either,
    flag,
    number,
    optional,
    rising,
    several,
    such,
    table,
    text,
    whole,
)

RULES = {
    "whole": whole(1, 8),
    "number": number(0, 1),
    "above": number(0, 1, above=True, unit="mm"),
    "flag": flag(),
    "text": text("[ab]+", "letters a and b"),
    "choice": choice("x", "y"),
    "optional": optional(whole(1, 8)),
    "several": several(whole(0, 9), 1, 2),
    "table": table(whole(0, 9), text(), 2),
    "either": either(flag(), several(flag(), 2, 2)),
    "such": such(several(whole(0, 9), 2, 2), "rising", rising),
}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("whole", (1, 8), (0, 9, 1.0, True, "1", None, [1])),
        ("number", (0, 1, 0.5), (-0.1, 1.1, math.nan, math.inf, False, "0.5", None)),
        ("above", (1, 1e-9), (0, 0.0, -1)),
        ("flag", (True, False), (0, 1, "true", None)),
        ("text", ("a", "abba"), ("", "c", "a\n", 1, None)),
        ("choice", ("x", "y"), ("z", "", 1, ["x"], {})),
        ("optional", (None, 3), (0, "null")),
        ("several", ([0], (1, 2)), ([], [1, 2, 3], [10], 1, {1: 2}, "12")),
        ("table", ({}, {1: "a"}), ({10: "a"}, {1: 2}, {1: "a", 2: "b", 3: "c"}, [1])),
        ("either", (True, [True, False]), (1, [True])),
        ("such", ([1, 2],), ([2, 1], [1, 1], [1], [1, "2"])),
    ],
)
def test_what_fits(name, good, bad):
    rule = RULES[name]
    assert [value for value in good if not rule.fits(value)] == []
    assert [value for value in bad if rule.fits(value)] == []


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("whole", 0, "x: expected a whole number from 1 to 8, found 0"),
        ("above", 0, "x: expected a number above 0, up to 1 mm, found 0"),
        (
            "number",
            "1e-3",
            "x: expected a number from 0 to 1, found '1e-3'; this is a text, write 0.001 without quotes"[:],
        ),
        (
            "number",
            "1e-7",
            "x: expected a number from 0 to 1, found '1e-7'; this is a text, write 1.0e-07 without quotes",
        ),
        ("such", [2, 1], "x: expected a list of 2, each a whole number from 0 to 9, rising, found [2, 1]"),
        ("either", "no", "x: expected true or false, or a list of 2, each true or false, found 'no'"),
        ("flag", "a\nb" * 99, None),
    ],
)
def test_a_fault_is_one_short_line(name, value, line):
    found = RULES[name].fault("x", value)
    assert "\n" not in found and len(found) < 300
    assert line is None or found == line
