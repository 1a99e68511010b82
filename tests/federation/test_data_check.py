from __future__ import annotations

import json
import shutil

import pytest

from shared_components.errors import InputError
from shared_components.federation.data_check import check_clients
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


def test_unseen_roots_need_the_labels_but_no_training_images(values, roots, tmp_path):
    root = shutil.copytree(roots["north"], tmp_path / "d")
    file = root / "dataset.json"
    content = json.loads(file.read_text()) | {"domain": "d"}
    content["test"], content["training"] = content["training"], []
    file.write_text(json.dumps(content))
    study = {"unseen": {"D": str(root)}}
    check_clients(federation(values, study=study))
    file.write_text(json.dumps(content | {"labels": {"0": "background", "1": "skull"}}))
    with pytest.raises(InputError, match=r"unseen D: .*'labels' are"):
        check_clients(federation(values, study=study))


def test_unseen_domains_are_none_of_the_federation(values, roots, tmp_path):
    root = shutil.copytree(roots["north"], tmp_path / "d")
    with pytest.raises(InputError, match=r"unseen D: .*domain 't1' is one of the federation's"):
        check_clients(federation(values, study={"unseen": {"D": str(root)}}))
