from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from shared_components.errors import InputError
from shared_components.federation.client_entry import Demand
from shared_components.federation.nvflare.places import VARIABLE, Place, plain_name, read_server, read_site
from shared_components.federation.start import Start


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "kit" / "local").mkdir(parents=True)
    return tmp_path / "kit"


def written(kit, **values):
    (kit / "local" / "fedfoundry.yaml").write_text(yaml.safe_dump(values))


def test_a_site_knows_its_data_and_keeps_runs_in_its_kit(kit, tmp_path):
    (tmp_path / "spine").mkdir()
    written(kit, data_root=str(tmp_path / "spine"))
    place = read_site(kit, "north")
    assert place.data_roots == (str(tmp_path / "spine"),) and not place.rehearsal
    assert (place.minimum, place.demand) == (3, None)
    assert place.budget == str(kit / "fedfoundry" / "spent.json")
    assert place.run_folder("two-hospitals") == str(kit / "fedfoundry" / "two-hospitals")


def test_paths_are_beside_the_site_file_and_runs_may_lie_elsewhere(kit, tmp_path):
    (kit / "local" / "data").mkdir()
    written(kit, data_root=["data"], folder=str(tmp_path / "runs"))
    place = read_site(kit, "north")
    assert place.data_roots == (str(kit / "local" / "data"),)
    assert place.run_folder("a") == str(tmp_path / "runs" / "a")


def test_the_environment_names_a_file_or_a_folder_of_them(kit, tmp_path, monkeypatch):
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "north.yaml").write_text(yaml.safe_dump({"data_root": str(tmp_path)}))
    monkeypatch.setenv(VARIABLE, str(folder))
    assert read_site(kit, "north").data_roots == (str(tmp_path),)
    monkeypatch.setenv(VARIABLE, str(folder / "north.yaml"))
    assert read_site(kit, "anything").data_roots == (str(tmp_path),)


def test_a_site_demands_privacy_of_its_own(kit, tmp_path):
    written(kit, data_root=str(tmp_path), privacy={"noise_multiplier": 1, "epsilon_at_most": 8})
    assert read_site(kit, "north").demand == Demand(noise_multiplier=1, epsilon_at_most=8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "expected the site file of north.*found none.*federate.py join"),
        ({}, "'data_root' is missing"),
        ({"data_root": "/no/such/folder"}, "'data_root' /no/such/folder is not a folder"),
        ({"data_root": "$__import__('os')"}, "expected a text, found the expression"),
        ({"data_rot": "/"}, "did you mean 'data_root'"),
        ({"privacy": {"epsilon": 8}}, "privacy: key 'epsilon' is unknown"),
        ({"minimum": 0}, "'minimum': expected the least number of patients in a statistic, found 0"),
    ],
)
def test_a_faulty_site_file_is_one_line_with_the_cure(kit, values, message):
    if values is not None:
        written(kit, **values)
    with pytest.raises(InputError, match=message):
        read_site(kit, "north")


def test_a_server_needs_no_file_and_has_no_data(kit, tmp_path):
    assert read_server(kit).run_folder("x") == str(kit / "fedfoundry" / "x")
    written(kit, folder=str(tmp_path / "runs"))
    assert read_server(kit).run_folder("x") == str(tmp_path / "runs" / "x")


@pytest.mark.parametrize(
    ("name", "plain"),
    [("two-hospitals", "two-hospitals"), ("../../etc", "etc"), ("a b/c", "a-b-c"), ("…", "federation")],
)
def test_a_name_of_a_federation_names_one_folder(name, plain):
    assert plain_name(name) == plain


def test_two_federations_share_no_folder_at_a_site():
    names = ["a-b", "a b", "a/b", "a-b-", "\u5317", "\u5357", "federation", "../a-b"]
    folders = {Path(Place("north", "/runs").run_folder(name)) for name in names}
    assert len(folders) == len(names) and {folder.parent for folder in folders} == {Path("/runs")}


def test_a_site_finds_what_it_kept_of_an_earlier_run_in_its_own_folder_alone(tmp_path):
    start = Start("", {}, {}, "", run="heads", within="../../factory")
    place = Place("north", str(tmp_path))
    assert place.earlier_folders(start) == [tmp_path / "heads" / "factory"]
    # or the factory of a study, which the administrator has named by its own folder
    alone = Path(place.run_folder("two heads"))
    assert place.earlier_folders(replace(start, run="two heads", within="")) == [alone, alone / "factory"]
    assert replace(place, earlier=str(tmp_path / "run")).earlier_folders(start) == [tmp_path / "run"]
