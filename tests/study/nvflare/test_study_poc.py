"""A whole study with NVFlare's server and clients as processes with certificates, through the command line."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.federation.nvflare.processes import federate, left_running
from tests.study.test_generalisation import SMALL
from tests.study.test_study import values as study_values

pytest.importorskip("nvflare")
__all__ = ["study_values"]


def test_no_data_and_no_adapted_model_reach_the_server(study_values, tmp_path):
    more = {"baselines": False, "publish": "model", "generalisation": dict(SMALL)}
    settings = {**study_values["study"], **more}
    values = {**study_values, "output_dir": str(tmp_path / "out"), "study": settings}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    ended = federate("study", file, "--engine", "poc")
    output = ended.communicate()[0]
    assert ended.returncode == 0, output
    assert "south/adaptation: done" in output and "all/generalisation: done" in output
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (tmp_path / "out" / "report.html").is_file() and left_running(tmp_path / "out") == []
    (kits,) = (tmp_path / "out" / "kits").glob("*/prod_*")
    server, roots = kits / "localhost", [client["data_root"] for client in values["clients"].values()]
    kept = [path for path in server.rglob("*") if path.is_file()]
    assert not [path for path in kept if any(root.encode() in path.read_bytes() for root in roots)]
    assert not [
        path for path in kept if path.name.endswith("_seg.nii.gz") or "adaptation/model.pt" in str(path)
    ]
    for client in ("south", "island"):
        own = kits / client / "fedfoundry" / kits.parent.name / "clients" / client
        assert (own / "synthetic").is_dir() and (own / "adaptation" / "model.pt").is_file()
    assert {entry["what"] for entry in study["exchange"] if entry["target"] == "south"} == {
        "the factory",
        "north: source_model",
        "all: generalisation",
    }
