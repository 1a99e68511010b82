from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from shared_components.errors import InputError
from shared_components.federation import data_check
from shared_components.federation.data_check import check_clients, check_reports
from shared_components.federation.site_check import site_check
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
    other = reports(tiny, problems={"images": 2, "dataset.json": 1}, domains=["pet"], versions=torch)
    with pytest.raises(InputError) as caught:
        check_reports(tiny, other)
    head, problems, domains, version, cure = str(caught.value).splitlines()
    assert head == "tiny: 3 problems in the clients' data"
    assert problems.startswith("client south: 3 problems: 1 in dataset.json, 2 in images; they stand")
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
