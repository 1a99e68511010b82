from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.section import Section
from shared_components.value_rules import number, optional, whole

RULES = {"rounds": whole(1, 9), "clip": optional(number(0, 1))}


def section(**values) -> Section:
    return Section(values, Path("file.yaml"))


def test_sections_of_a_file_gather_their_faults_in_one_list():
    file = section(first={"rounds": 0}, second=3, third={"rounds": 2})
    assert file.section("first").ruled(RULES) is None and file.section("second").values == {}
    assert file.section("third").ruled(RULES, clip=0.5) == {"rounds": 2, "clip": 0.5}
    with pytest.raises(InputError) as told:
        file.refuse()
    assert str(told.value).splitlines() == [
        "file.yaml: 2 problems:",
        "  - first: rounds: expected a whole number from 1 to 9, found 0",
        "  - 'second' must hold 'key: value' lines, found 3",
    ]


def test_one_fault_is_one_line_and_none_is_nothing():
    section(name="a").refuse()
    file = section(nmae="a")
    file.expect(["name"])
    with pytest.raises(InputError, match=r"^file.yaml: key 'nmae' is unknown \(did you mean 'name'\?\)$"):
        file.refuse()


def test_a_key_of_a_rule_that_nobody_has_given_is_none():
    assert section(what={"rounds": 1}).section("what").ruled(RULES) == {"rounds": 1, "clip": None}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (["a", "b"], "'name': expected one text, found ['a', 'b']"),
        (True, "'name': expected a text, found True; write it in quotes"),
        ("a\nb", "'name': expected one line, found 'a\\nb'"),
        ("$exit()", "'name': expected a text, found the expression '$exit()'; these are for overrides, "),
    ],
)
def test_what_is_no_text_is_told_and_the_default_stands(value, fault):
    file = section(name=value)
    assert file.text("name", "usual") == "usual"
    assert len(file.faults) == 1 and file.faults[0].startswith(fault)


def test_what_must_exist_is_looked_for_beside_the_file_first(tmp_path, monkeypatch):
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside / "data", here / "data", here / "more"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    file = Section({"data": "data", "all": ["data", "more"]}, beside / "file.yaml")
    assert file.place("data") == str(beside / "data")
    assert file.places("all") == (str(beside / "data"), str(here / "more"))
    assert file.place("none") == "" and file.places("none") == () and file.faults == []
