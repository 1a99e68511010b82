"""A whole study with NVFlare's server and clients as processes with certificates, through the command line."""

from __future__ import annotations

import json

import pytest
import yaml

from scripts.federate import COMMANDS
from tests.federation.nvflare.processes import federate, killed_at, left_running
from tests.scripts.commands import told
from tests.study.test_generalisation import SMALL
from tests.study.test_study import values as study_values

pytest.importorskip("nvflare")
from shared_components.errors import InputError
from shared_components.study.nvflare.study_job import job_parts
from tests.study.test_study import made

__all__ = ["study_values"]


@pytest.fixture
def values(study_values, tmp_path) -> dict:
    more = {"baselines": False, "publish": "model", "generalisation": dict(SMALL)}
    settings = {**study_values["study"], **more}
    return {**study_values, "output_dir": str(tmp_path / "out"), "study": settings}


@pytest.mark.thorough
def test_a_rehearsal_goes_on_and_neither_data_nor_adapted_models_reach_the_server(values, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    lines = killed_at(federate("poc", file), "north/source_model: done")
    assert "round 1/1" in "".join(lines) and left_running(tmp_path / "out") == []
    (first,) = (tmp_path / "out" / "kits").glob("*/prod_*/north/fedfoundry/*/clients/north/*/done.json")
    written = first.stat().st_mtime_ns
    ended = federate("poc", file, "--resume")
    output = ended.communicate()[0]
    assert ended.returncode == 0, output
    assert "round 1/1" not in output and first.stat().st_mtime_ns == written
    assert "south/adaptation: done" in output and "all/generalisation: done" in output
    assert f"report   {tmp_path / 'out' / 'report.html'}" in output
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


def test_a_study_is_exported_without_any_data(values, tmp_path, capsys):
    roots = [client["data_root"] for client in values["clients"].values()]
    values["clients"] = {name: {"domain": client["domain"]} for name, client in values["clients"].items()}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    code, _, error = told(capsys, COMMANDS, "export", file, "--output_dir", tmp_path / "job")
    assert code == 0, error
    custom = tmp_path / "job" / "tiny-study" / "app" / "custom"
    assert {path.name for path in (custom / "bundles").iterdir()} == {"factory", "adaptation", "segmentation"}
    assert list(custom.rglob("*.pt")) == []  # no weights, those of demos or of anybody's training
    parts = yaml.safe_load((custom / "job.yaml").read_text())
    assert parts["settings"]["publish"] == "model" and "jobs" not in parts["settings"]
    controller = json.loads((custom.parent / "config" / "config_fed_server.json").read_text())["workflows"][0]
    assert controller["path"].endswith("StudyController") and controller["args"]["resume"] is True
    written = [path for path in custom.parent.parent.rglob("*") if path.is_file()]
    assert not [path for path in written if any(root.encode() in path.read_bytes() for root in roots)]


def test_a_study_with_unusable_settings_is_not_exported(values):
    refused = {**values, "study": {"pretrian": {}}}
    with pytest.raises(InputError, match="'pretrian'"):
        job_parts(made(refused))
