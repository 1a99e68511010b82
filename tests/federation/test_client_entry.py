from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.client_entry import Demand, read_demand
from shared_components.federation.federation import client_plan
from shared_components.federation.privacy import Privacy
from shared_components.federation.section import Section
from tests.federation.tiny import federation

ALL = Demand(max_norm=1.0, noise_multiplier=0.8, epsilon_at_most=8.0)


@pytest.mark.parametrize(
    ("demand", "privacy", "found"),
    [
        (ALL, Privacy(1.0, 0.8, losses=False), []),
        (ALL, Privacy(0.5, 2.0, losses=False), []),
        (Demand(), None, []),
        (Demand(max_norm=1.0), Privacy(1.0), []),
        (Demand(noise_multiplier=0.8, losses=True), Privacy(9.0, 1.0, losses=True), []),
        (Demand(max_norm=1.0), None, ["max_norm 1, found no clip"]),
        (Demand(max_norm=1.0), Privacy(1.5), ["max_norm 1, found clip 1.5"]),
        (Demand(noise_multiplier=0.8), None, ["noise_multiplier 0.8, found noise 0"]),
        (Demand(epsilon_at_most=8.0, losses=True), Privacy(1.0), ["epsilon_at_most 8, found noise 0"]),
        (Demand(noise_multiplier=0.8), Privacy(1.0, 1.0, losses=True), ["losses false, found losses true"]),
        (
            ALL,
            Privacy(2.0, 0.5, losses=False),
            ["max_norm 1, found clip 2", "noise_multiplier 0.8, found noise 0.5"],
        ),
    ],
)
def test_what_is_weaker_than_demanded_is_one_line(demand, privacy, found):
    unmet = demand.unmet(privacy)
    assert bool(unmet) == bool(found) and "\n" not in unmet
    assert all(each in unmet for each in found) and unmet.count(", found ") == len(found)


def test_the_limit_itself_is_within_it():
    assert ALL.beyond(8.0) == "" and Demand(max_norm=1.0).beyond(1e9) == ""
    assert ALL.beyond(8.25) == (
        "its site's epsilon would be 8.25 at delta 1e-05 after this update, above its epsilon_at_most (8); it sends "
        "no more"
    )


def test_a_section_is_read_as_it_was_written():
    values = {"max_norm": 1, "epsilon_at_most": 8}
    demand, none = (read_demand(Section(section, Path("site.yaml"), "privacy")) for section in (values, {}))
    assert none is None and demand == Demand(max_norm=1, epsilon_at_most=8)
    assert read_demand(Section(demand.as_dict(), Path("site.yaml"), "privacy")) == demand
    assert demand.as_dict() == {**values, "delta": 1e-5, "losses": False}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"max_nrom": 1}, r"privacy: key 'max_nrom' is unknown \(did you mean 'max_norm'\?\)"),
        ({"max_norm": 0}, "privacy: max_norm: expected a number above 0"),
        ({"noise_multiplier": "1e-1"}, "privacy: noise_multiplier: expected 0, or a number from"),
        ({"epsilon_at_most": True}, "privacy: epsilon_at_most: expected a number above 0"),
        ({"delta": None}, "privacy: delta: expected a number above 0 and below 1"),
        (3, "privacy must hold 'key: value' lines, found 3"),
    ],
)
def test_what_is_wrong_with_a_section_is_told(values, section, message):
    values["clients"]["north"]["privacy"] = section
    with pytest.raises(InputError, match=f"client 'north': {message}"):
        federation(values)


def test_a_client_of_the_local_engine_that_demands_more_is_told_with_the_file(values):
    values["clients"]["north"]["privacy"] = {"max_norm": 0.5}
    with pytest.raises(InputError) as caught:
        federation(values, privacy={"clip": 1.0})
    assert str(caught.value) == (
        "tiny.yaml: client 'north': its site demands more privacy than the federation file gives: max_norm 0.5, "
        "found clip 1"
    )
    met = federation(values, privacy={"clip": 0.5})
    assert met.clients["north"].demand == Demand(max_norm=0.5) and met.clients["south"].demand is None
    assert met.as_dict()["clients"]["north"]["privacy"] == Demand(max_norm=0.5).as_dict()
    assert client_plan(met, "north").demand == Demand(max_norm=0.5)


def test_no_plan_is_made_of_a_client_whose_site_demands_more(values):
    with pytest.raises(InputError, match=r"noise_multiplier 2, found noise 1$"):
        client_plan(federation(values, privacy={"clip": 1, "noise": 1}), "north", Demand(noise_multiplier=2))
