from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from shared_components.errors import InputError
from shared_components.federation import data_check
from shared_components.federation.data_check import check_clients, check_reports, disagreements
from shared_components.federation.site_check import SiteReport, site_check
from tests.federation.tiny import federation


def test_every_root_of_a_client_is_checked_against_its_own_domain(values, roots):
    two = [str(roots["north"]), str(roots["south"])]
    check_clients(federation(values, clients={"both": {"data_root": two, "domain": ["t1", "t2"]}}))
    turned = {"both": {"data_root": two, "domain": ["t2", "t1"]}}
    with pytest.raises(InputError, match="2 problems") as caught:
        check_clients(federation(values, clients=turned))
    first, second = str(caught.value).splitlines()[1:]
    assert first.startswith(f"client both: {two[0]}") and "'t1', the federation expects 't2'" in first
    assert second.startswith(f"client both: {two[1]}")


def test_what_nobody_trains_on_needs_the_labels_but_no_training_images(values, roots, tmp_path):
    root = shutil.copytree(roots["north"], tmp_path / "d")
    file = root / "dataset.json"
    content = json.loads(file.read_text()) | {"domain": "d"}
    content["test"], content["training"] = content["training"], []
    file.write_text(json.dumps(content))
    more = {"unseen D": str(root)}
    check_clients(federation(values), more)
    file.write_text(json.dumps(content | {"labels": {"0": "background", "1": "skull"}}))
    with pytest.raises(InputError, match=r"unseen D: .*'labels' are"):
        check_clients(federation(values), more)


def test_what_nobody_trains_on_is_of_no_domain_of_the_federation(values, roots, tmp_path):
    root = shutil.copytree(roots["north"], tmp_path / "d")
    with pytest.raises(InputError, match=r"unseen D: .*domain 't1' is one of the federation's"):
        check_clients(federation(values), {"unseen D": str(root)})


def test_worker_processes_find_the_same(values, roots, tmp_path, monkeypatch, capsys):
    root = shutil.copytree(roots["north"], tmp_path / "sick")
    (root / "images" / "s1.nii.gz").write_bytes(b"no image")
    clients = {**values["clients"], "north": {"data_root": str(root), "domain": "t1"}}
    messages = []
    for much, workers in ((10**9, 0), (0, 2)):
        monkeypatch.setattr(data_check, "MUCH", much)
        with pytest.raises(InputError) as caught:
            check_clients(federation(values, clients=clients, workers=workers))
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "client north: " in messages[0] and "s1.nii.gz" in messages[0]
    assert "checking the clients' data: 3 clients" in capsys.readouterr().err


def test_clients_without_a_federation_wide_label_set_agree_among_themselves(values, roots, tmp_path):
    root = shutil.copytree(roots["south"], tmp_path / "south")
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(content | {"labels": {"0": "background", "1": "skull"}}))
    clients = {**values["clients"], "south": {"data_root": str(root), "domain": "t2"}}
    with pytest.raises(InputError) as caught:
        check_clients(federation(values, clients=clients, labels=None))
    assert str(caught.value).splitlines()[1:] == [
        "client south: labels {0: background, 1: skull}, where island, north have {0: background, 1: brain}"
    ]


def reports(tiny, **south):
    found = {name: site_check(tiny, name).report for name in tiny.clients}
    return {**found, "south": replace(found["south"], **south)}


def test_reports_from_elsewhere_stop_a_federation_with_every_difference_and_one_cure(values, capsys):
    tiny = federation(values)
    check_reports(tiny, reports(tiny))
    assert capsys.readouterr().out == ""
    torch = {**reports(tiny)["north"].versions, "torch": "1.0.0"}
    other = reports(tiny, faults={"images": 2, "dataset.json": 1}, domains=["pet"], versions=torch)
    with pytest.raises(InputError) as caught:
        check_reports(tiny, other)
    head, faults, domains, version, cure = str(caught.value).splitlines()
    assert head == "tiny: 3 problems in the clients' data"
    assert faults.startswith("client south: 3 problems: 1 in dataset.json, 2 in images; they stand")
    assert domains == "client south: domains pet, where the federation file has t2"
    assert version.startswith("client south: torch 1.0.0, where island, north have ")
    assert cure.startswith("install the same versions")


def test_other_versions_are_a_note_where_the_file_says_so(values, capsys):
    tiny = federation(values, versions="warn")
    check_reports(tiny, reports(tiny, bundle="9.9"))
    assert capsys.readouterr().out.startswith(
        "note: client south: bundle version 9.9, where island, north have "
    )
    with pytest.raises(InputError, match="'versions' is 'ignore'; known are agree, warn"):
        federation(values, versions="ignore")


LABELS = {0: "background", 1: "brain"}
VERSIONS = {
    "fedfoundry": "0.2.0",
    "python": "3.11.4",
    "monai": "1.6.1",
    "torch": "2.13.0+cpu",
    "numpy": "2.4.6",
    "nibabel": "5.4.2",
    "itk": "5.4.7",
}
REPORT = SiteReport(
    faults={},
    volumes={"training": [4, 2], "validation": [0, 0], "test": [1, 1]},
    domains=["t1"],
    labels={"0": "background", "1": "brain"},
    seen={"image_size": 48, "spacing": 4.5, "orientation": "RAS"},
    bundle="0.1.0",
    versions=VERSIONS,
)


def found(warn: bool = False, labels=None, domains=None, **south):
    """Differences of three clients, of which ``south`` is another."""
    reports = {"north": REPORT, "south": replace(REPORT, **south), "west": REPORT}
    return disagreements(reports, labels, domains, warn)


def lines(**arguments) -> list[str]:
    return [str(difference) for difference in found(**arguments)]


def other(**versions) -> dict[str, str]:
    return {**VERSIONS, **versions}


def test_equal_reports_agree():
    assert found() == [] and disagreements({}) == []
    assert found(labels=LABELS, domains={"north": ("t1",)}) == []


def test_labels_are_compared_with_the_file_or_with_most_clients():
    skull = {"0": "background", "1": "skull"}
    reports = {"north": REPORT, "south": replace(REPORT, labels=skull)}
    (by_file,) = disagreements(reports, LABELS)
    assert str(by_file).endswith(
        "{0: background, 1: skull}, where the federation file has {0: background, 1: brain}"
    )
    (by_others,) = disagreements(reports)
    assert str(by_others) == (
        "client south: labels {0: background, 1: skull}, where north has {0: background, 1: brain}"
    )
    assert by_others.stops
    assert disagreements({"north": REPORT, "south": replace(REPORT, labels={})}) == []  # a fault of its data


def test_domains_are_those_of_the_file_root_by_root():
    domains = {"north": ("t1",), "south": ("t1", "t2"), "west": ("t1",)}
    assert lines(domains=domains) == ["client south: domains t1, where the federation file has t1, t2"]
    two = {"north": replace(REPORT, domains=["t1", "t1"])}
    assert disagreements(two, domains={"north": ("t1",)}) == []  # the one of all its data roots


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [("image_size", 64, "64"), ("spacing", None, "None"), ("spacing", [1.0, 2.0], "[1.0, 2.0]")],
)
def test_what_the_networks_see(key, value, shown):
    usual = REPORT.seen[key]
    expected = f"client south: {key} {shown}, where north, west have {usual}"
    assert lines(seen={**REPORT.seen, key: value}) == [expected]


def test_orientation_in_plain_words_and_ids_that_one_lacks():
    assert lines(seen={**REPORT.seen, "orientation": "ASR"}) == [
        "client south: orientation ASR, where north, west have RAS"
    ]
    without = {key: value for key, value in REPORT.seen.items() if key != "spacing"}
    assert lines(seen=without) == ["client south: spacing none, where north, west have 4.5"]


def test_another_bundle_stops_unless_the_file_says_to_warn():
    (difference,) = found(bundle="0.2.0")
    assert str(difference) == "client south: bundle version 0.2.0, where north, west have 0.1.0"
    assert difference.stops
    (difference,) = found(bundle="0.2.0", warn=True)
    assert not difference.stops


@pytest.mark.parametrize(
    ("package", "version", "stops"),
    [
        ("torch", "2.12.1", True),
        ("torch", "2.13.1", False),
        ("torch", "2.13.0+cu130", False),
        ("monai", "1.5.0", True),
        ("numpy", "not installed", True),
        ("fedfoundry", "0.3.0", True),
        ("python", "3.12.3", False),
        ("itk", "not installed", False),
        ("nibabel", "5.3.0", False),
    ],
)
def test_versions_that_matter_stop_and_patches_are_noted(package, version, stops):
    (difference,) = found(versions=other(**{package: version}))
    assert str(difference) == f"client south: {package} {version}, where north, west have {VERSIONS[package]}"
    assert difference.stops == stops
    (difference,) = found(versions=other(**{package: version}), warn=True)
    assert not difference.stops


def test_all_differences_come_in_one_list_sorted_by_client():
    reports = {
        "west": replace(REPORT, versions=other(torch="2.1.0"), seen={**REPORT.seen, "spacing": 3.0}),
        "north": REPORT,
        "south": replace(REPORT, bundle="9", domains=["t2"]),
        "east": REPORT,
    }
    told = [
        (difference.client, difference.what)
        for difference in disagreements(reports, domains={"south": ("t1",)})
    ]
    assert told == [
        ("south", "domains"),
        ("south", "bundle version"),
        ("west", "spacing"),
        ("west", "torch"),
    ]


def test_of_two_the_first_by_name_is_the_measure():
    reports = {"b": REPORT, "a": replace(REPORT, bundle="0.2.0")}
    assert [str(each) for each in disagreements(reports)] == [
        "client b: bundle version 0.1.0, where a has 0.2.0"
    ]
