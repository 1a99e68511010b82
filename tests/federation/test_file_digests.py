from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared_components.federation.bundle_workflow import reads_labels
from shared_components.federation.client_entry import Client
from shared_components.federation.file_digests import FileDigests, data_changes, data_record


def write_root(root: Path, *entries: dict[str, Any], **more: Any) -> Path:
    """A data root whose files hold their own names, where they are not there yet."""
    head = {"name": "north", "domain": "t1", "labels": {"0": "background", "1": "brain"}}
    for name in (entry[key] for entry in entries for key in ("image", "label") if key in entry):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            (root / name).write_text(name)
    (root / "dataset.json").write_text(json.dumps({**head, "training": entries, **more}))
    return root


def record(root: Path, labels: bool = True) -> dict[str, Any]:
    """As it comes back from a file."""
    found = data_record({"north": Client((str(root),), ("t1",))}, FileDigests(), labels)
    return json.loads(json.dumps(found))


def test_replaced_voxels_beside_a_header_are_told(tmp_path):
    header, voxels = tmp_path / "images" / "s0.mhd", tmp_path / "images" / "s0.raw"
    header.parent.mkdir()
    header.write_text("NDims = 3\nElementDataFile = s0.raw\n")
    voxels.write_bytes(b"before")
    before = record(write_root(tmp_path, {"image": "images/s0.mhd"}))
    assert data_changes(before, record(tmp_path)) == []
    voxels.write_bytes(b"after")
    assert data_changes(before, record(tmp_path)) == [
        "client north: images/s0.mhd of training is another file"
    ]


LABELLED = {"image": "images/s0.nii", "label": "labels/s0.nii"}


@pytest.mark.parametrize(
    ("entry", "more", "told"),
    [
        ({"annotated": [4]}, {}, "other slices of images/s0.nii of training are annotated"),
        ({}, {"ignore": 255}, "its 'ignore' was none and is now 255"),
    ],
)
def test_what_of_a_label_map_is_known_is_part_of_the_data(tmp_path, entry, more, told):
    before = record(write_root(tmp_path, LABELLED))
    now = record(write_root(tmp_path, LABELLED | entry, **more))
    assert data_changes(before, now) == [f"client north: {told}"]
    assert len(data_changes(now, before)) == 1 and data_changes(now, now) == []


def test_names_may_hold_anything(tmp_path):
    entry = {"image": "images/flair + t1, s0.nii", "label": "labels/a + b.nii"}
    before = record(write_root(tmp_path, entry))
    (tmp_path / "labels" / "a + b.nii").write_text("another")
    assert data_changes(before, record(tmp_path)) == [
        "client north: the label of images/flair + t1, s0.nii of training is another one"
    ]


UNLABELLED = {"image": "images/s0.nii"}
RELABELLED = {**UNLABELLED, "label": "labels/s1.nii"}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (UNLABELLED, LABELLED, "images/s0.nii of training has a label now"),
        (LABELLED, UNLABELLED, "images/s0.nii of training has no label any more"),
        (LABELLED, RELABELLED, "the label of images/s0.nii of training is another one"),
        (LABELLED | {"annotated": [4]}, UNLABELLED, "images/s0.nii of training has no label any more"),
    ],
)
def test_labels_that_come_and_go_are_told_unless_none_is_read(tmp_path, first, second, told):
    before, unread = (record(write_root(tmp_path, first), labels) for labels in (True, False))
    now, unread_now = (record(write_root(tmp_path, second), labels) for labels in (True, False))
    assert data_changes(before, now) == [f"client north: {told}"]
    assert data_changes(unread, unread_now) == []
    assert data_changes(before, unread_now) == []


def test_an_image_that_is_replaced_is_told_where_no_label_is_read(tmp_path):
    before = record(write_root(tmp_path, LABELLED))
    (tmp_path / "images" / "s0.nii").write_text("another")
    assert data_changes(before, record(tmp_path, labels=False)) == [
        "client north: images/s0.nii of training is another file"
    ]


@pytest.mark.parametrize(
    ("config", "reads"),
    [
        ({}, True),
        ({"label_domains": []}, False),
        ({"label_domains": [], "slices_per_volume": None}, False),
        ({"label_domains": [], "slices_per_volume": 4}, True),  # annotated ones first
        ({"label_domains": "$['t' + str(@number)]", "number": 1}, True),
    ],
)
def test_a_training_reads_labels_unless_its_bundle_says_otherwise(config, reads):
    assert reads_labels(config) is reads
