from __future__ import annotations

import os

import pytest

from shared_components.data.client_root import ClientRoot
from shared_components.data.names import subject_name
from shared_components.errors import InputError


def test_loads_what_the_description_says(data_root):
    root = ClientRoot.load(data_root[0])
    assert (root.name, root.domain, root.modality) == ("north", "t2", {"0": "MRI"})
    assert root.labels == {0: "background", 1: "brain"}
    assert {split: len(entries) for split, entries in root.splits.items()} == {
        "training": 2,
        "validation": 1,
        "test": 1,
    }


def test_items_have_absolute_paths_domain_and_subject(data_root):
    folder, _ = data_root
    first, second = ClientRoot.load(folder).items("training")
    assert first == {
        "image": str(folder / "images/s1.nii.gz"),
        "label": str(folder / "labels/s1.nii.gz"),
        "domain": "t2",
        "subject": "s1",
    }
    assert "label" not in second


def test_several_images_of_one_patient(data_root, describe):
    root, content = data_root
    for entry in content["training"]:
        entry["patient"] = "p7"
    describe(root, content)
    assert [item["patient"] for item in ClientRoot.load(root).items("training")] == ["p7", "p7"]
    content["validation"][0]["patient"] = "p7"
    describe(root, content)
    with pytest.raises(
        InputError, match="images of the patient 'p7' are in training and validation; keep all"
    ):
        ClientRoot.load(root)
    content["validation"][0]["patient"] = 7
    describe(root, content)
    with pytest.raises(
        InputError, match=r"validation\[0\]: 'patient' expected a name, found 7; write a name"
    ):
        ClientRoot.load(root)


def test_items_by_label(data_root):
    root = ClientRoot.load(data_root[0])
    assert [item["subject"] for item in root.items("training", labelled=True)] == ["s1"]
    assert [item["subject"] for item in root.items("training", labelled=False)] == ["s2"]


def test_paths_are_absolute_for_a_relative_root(data_root, monkeypatch):
    monkeypatch.chdir(data_root[0].parent)
    assert ClientRoot.load("north").items("test")[0]["image"] == str(data_root[0] / "images/s4.nii.gz")


def test_splits_may_be_left_out(data_root, describe):
    root, content = data_root
    describe(root, {key: content[key] for key in ("name", "domain", "labels", "training")})
    assert ClientRoot.load(root).items("test") == []


def test_an_unknown_split_is_refused(data_root):
    with pytest.raises(InputError, match="expected one of training, validation, test, found 'train'"):
        ClientRoot.load(data_root[0]).items("train")


def test_the_first_fault_is_told_and_the_others_counted(data_root, describe):
    root, content = data_root
    describe(root, content | {"domain": ""})
    with pytest.raises(InputError, match=r"dataset\.json: 'domain': expected a name, found ''; write"):
        ClientRoot.load(root)
    os.remove(root / "images/s2.nii.gz")
    os.remove(root / "images/s3.nii.gz")
    with pytest.raises(InputError, match=r"\(and 2 more: run `python scripts/prepare_data.py check "):
        ClientRoot.load(root)


def test_a_missing_description_names_its_cure(tmp_path):
    with pytest.raises(InputError, match="make-datalist"):
        ClientRoot.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "subject"),
    [
        ("images/s01.nii.gz", "s01"),
        ("s01.v2.NII.GZ", "s01.v2"),
        ("s01.seg.nrrd", "s01"),
        ("series.2024", "series.2024"),
        ("a/b/s_0000.mha", "s_0000"),
    ],
)
def test_subject_names(file, subject):
    assert subject_name(file) == subject
