from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.study.client_data import ClientData
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
