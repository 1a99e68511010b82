from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
