from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.study.client_data import ClientData, SiteDescription
from shared_components.study.findings import few_items
from tests.study.test_study import make_client


@pytest.fixture
def two(tmp_path):
    """Roots of domain t1 without and of domain t2 with labels, of two training volumes each."""
    first = make_client(tmp_path / "first", "t1", ("test",), 0)
    return [str(first), str(make_client(tmp_path / "second", "t2", ("training", "test"), 1))]


def test_several_roots_are_one_client(two):
    data = ClientData.load(two)
    assert data.dataset_dir == two and data.files == tuple(f"{root}/dataset.json" for root in two)
    assert data.domains == ("t2", "t1"), "the one with labels comes first"
    assert data.label_share == 0.5 and data.labels == {0: "background", 1: "brain"}
    assert [item["domain"] for item in data.items("training")] == ["t1", "t1", "t2", "t2"]
    assert [item["domain"] for item in data.items("training", labelled=True)] == ["t2", "t2"]


def test_one_root_is_named_alone(two):
    data = ClientData.load(two[1:])
    assert data.dataset_dir == two[1] and data.domains == ("t2",) and data.label_share == 1.0


def test_pictures_show_every_root_first(two):
    assert [item["domain"] for item in few_items(ClientData.load(two))] == ["t1", "t2"]


def test_a_folder_without_data_is_told(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json"):
        ClientData.load([tmp_path])


@pytest.mark.parametrize(
    "wrong",
    [
        *({"domains": [domain]} for domain in ("$open('PWNED', 'w')", "@device", "%x", "/another/folder", "..", "")),
        *({"labels": labels} for labels in ({"0": "a", "00": "b"}, {"1": "a"}, {"0": ["a"]}, {})),
        *({"counts": dict.fromkeys(("training", "validation", "test"), c)} for c in (
            {"total": 1, "labelled": 2, "partly": 0},
            {"total": 2, "labelled": 1, "partly": 2},
            {"total": 10**7, "labelled": 0, "partly": 0},
            {"total": True, "labelled": 0, "partly": 0},
        )),
    ],
)  # fmt: skip
def test_a_description_that_no_data_have_is_refused(two, wrong):
    values = SiteDescription.of(ClientData.load(two), "0" * 16, noisy=True).as_dict()
    assert SiteDescription.from_dict(values, "north").as_dict() == values
    with pytest.raises(InputError, match="client north: expected a description of its data"):
        SiteDescription.from_dict({**values, **wrong}, "north")
