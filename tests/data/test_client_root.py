from __future__ import annotations

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


def test_all_faults_are_told_in_one_line(data_root, describe):
    root, content = data_root
    describe(root, content | {"domain": ""})
    with pytest.raises(InputError, match=r"dataset\.json: 'domain': expected a name, found ''; write"):
        ClientRoot.load(root)
    (root / "images/s2.nii.gz").unlink()
    (root / "images/s3.nii.gz").unlink()
    with pytest.raises(
        InputError,
        match=r"json: 'domain': .* \(write a short text\); \S+s2\.nii\.gz: no such file \(.*\); "
        r"\S+s3\.nii\.gz: no such file \([^\n]*\)$",
    ):
        ClientRoot.load(root)


def test_what_is_missing_is_told_with_what_to_write(data_root, describe):
    root, content = data_root
    describe(root, {"labels": content["labels"]})
    with pytest.raises(InputError) as caught:
        ClientRoot.load(root)
    assert str(caught.value) == (
        f"""{root / "dataset.json"}: has no 'name' (add it, such as "name": "north"); """
        """has no 'domain' (add it, such as "domain": "t1"); has no 'training' (add it, such as """
        """"training": [{"image": "images/s1.nii.gz", "label": "labels/s1.nii.gz"}])"""
    )


def test_beyond_five_faults_are_counted(data_root, describe):
    root, content = data_root
    describe(root, content | {"test": [{"image": f"images/gone{number}.nii.gz"} for number in range(7)]})
    with pytest.raises(InputError, match=r"gone4\.nii\.gz: no such file \([^;]*\); and 2 more$"):
        ClientRoot.load(root)


def test_a_missing_description_names_its_cure(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json: no such file; write it, such as \{"):
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
