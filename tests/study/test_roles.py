"""The key ``unseen`` of a study's settings."""

from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.federation.federation_file import read_federation
from shared_components.study.roles import unseen_data, unseen_names, unseen_roots
from tests.federation.tiny import federation, write_file


def test_roots_are_found_like_those_of_clients(values, tmp_path):
    (tmp_path / "d").mkdir()
    study = {"unseen": {"D": "d", "far": None}, "jobs": "@rounds"}
    read = read_federation(write_file(tmp_path / "f.yaml", values, study=study))
    assert read.study == study and "beside" not in read.as_dict()
    assert unseen_names(read) == ("D", "far")
    assert unseen_roots(read, ["far"]) == {"D": (str(tmp_path / "d"),), "far": ()}
    assert unseen_data(read) == {"unseen D": str(tmp_path / "d")}


def test_a_federation_knows_nothing_of_them(values):
    assert federation(values, study={"unseen": {"north": "gone"}}).study == {"unseen": {"north": "gone"}}
    with pytest.raises(InputError, match="key 'unseen' is unknown"):
        federation(values, unseen={"D": "d"})


def test_what_cannot_be_used_is_told(values, roots, tmp_path):
    (tmp_path / "d").mkdir()
    for unseen, message in (
        ({"D": str(roots["north"])}, r"unseen 'D': .* is trained on by client 'north'"),
        ({"north": str(tmp_path / "d")}, r"unseen 'north' is a client's name"),
        ({"D": "gone"}, r"unseen 'D': .*gone is not a folder"),
        ({"D": None}, r"unseen 'D': expected its data root, found none"),
        ({"../D": "."}, r"unseen '\.\./D': a name is of letters"),
        ({"D": {"d": 1}}, r"'D': expected a text, found"),
        ({"D": "$d"}, r"'D': expected a text, found the expression '\$d'"),
        (["d"], r"'unseen' must hold 'key: value' lines"),
    ):
        with pytest.raises(InputError, match=message):
            unseen_roots(federation(values, study={"unseen": unseen}))
