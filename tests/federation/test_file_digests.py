from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared_components.federation.client_entry import Client
from shared_components.federation.file_digests import FileDigests, compared, data_changes, data_record


def write_root(root: Path, *entries: dict[str, Any], **more: Any) -> Path:
    """A data root whose files hold their own names, where they are not there yet."""
    head = {"name": "north", "domain": "t1", "labels": {"0": "background", "1": "brain"}}
    for name in (entry[key] for entry in entries for key in ("image", "label") if key in entry):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            (root / name).write_text(name)
    (root / "dataset.json").write_text(json.dumps({**head, "training": entries, **more}))
    return root


def record(root: Path) -> dict[str, Any]:
    """As it comes back from a file."""
    return json.loads(json.dumps(data_record({"north": Client((str(root),), ("t1",))}, FileDigests())))


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


def test_a_record_of_an_earlier_version_knows_the_header_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "s0.img").write_bytes(b"voxels")
    now = record(write_root(tmp_path, {"image": "images/s0.hdr", "label": "labels/s0.nii"}))
    ((_, root),) = now["north"].items()
    ((key, digests),) = root["training"].items()
    header, rest = digests.split(",")
    label = rest.split(" ")[1]
    before = {"north": {str(tmp_path): {**root, "training": {key: f"{header} {label}"}}}}
    assert data_changes(before, now) == []
    other = {"north": {str(tmp_path): {**root, "training": {key: f"{header[::-1]} {label}"}}}}
    assert len(data_changes(other, now)) == 1


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
    assert compared(before) != compared(now)


def test_where_an_earlier_version_did_not_note_what_is_known_it_is_not_compared(tmp_path):
    earlier = record(write_root(tmp_path, LABELLED))
    for root in earlier["north"].values():
        del root["known"]
    assert compared(record(tmp_path)) == earlier, "digests of it stay the same"
    assert data_changes(earlier, record(write_root(tmp_path, LABELLED | {"annotated": [4]}))) == []
