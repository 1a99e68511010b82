from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from shared_components.errors import InputError
from shared_components.federation.federation import client_plan
from shared_components.federation.federation_file import federation_from
from shared_components.federation.start import read_start, start_of
from shared_components.files import save_tensors
from tests.federation.tiny import federation, file_values

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.controller import FederationController
from shared_components.federation.nvflare.job import write_job
from shared_components.federation.nvflare.job_file import job_values, read_job
from shared_components.federation.nvflare.places import Place


@pytest.fixture(scope="module")
def values(roots, tmp_path_factory):
    return file_values(roots, tmp_path_factory.mktemp("run") / "out")


@pytest.fixture(scope="module")
def job(values, tmp_path_factory):
    whole = federation(values, study={"unseen": {"other": str(Path(__file__).parent)}}, engine="nvflare")
    return write_job(whole, tmp_path_factory.mktemp("jobs"), FederationController(resume=True))


def test_no_file_of_a_job_names_a_path_of_this_machine(job, values, roots):
    paths = [*map(str, roots.values()), values["output_dir"], str(Path(__file__).parent)]
    for file in job.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert [path for path in paths if path.encode() in content] == [], file


def test_a_job_is_for_the_server_and_the_clients_alone(job):
    meta = json.loads((job / "meta.json").read_text())
    assert meta["deploy_map"] == {"app": ["server", "island", "north", "south"]} and meta["min_clients"] == 1
    server = json.loads((job / "app" / "config" / "config_fed_server.json").read_text())
    (workflow,) = server["workflows"]
    assert workflow["path"].endswith("controller.FederationController") and workflow["args"]["resume"] is True
    client = json.loads((job / "app" / "config" / "config_fed_client.json").read_text())
    assert [component["path"].rpartition(".")[2] for component in client["components"]] == ["Living"]


def test_a_job_runs_where_the_repository_is_not(job, tmp_path):
    custom = job / "app" / "custom"
    code = "import shared_components.federation.nvflare.site_tasks as s; print(s.__file__)"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = [{str(custom)!r}]\n{code}"]
    packages = [path for path in sys.path if path.endswith("site-packages")]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": ":".join(packages)}, capture_output=True, text=True
    )
    assert result.stdout.strip() == str(custom / "shared_components/federation/nvflare/site_tasks.py"), (
        result.stderr
    )


def test_a_site_builds_the_same_client_from_the_job_as_the_local_engine(job, values, roots, tmp_path):
    place = Place("north", str(tmp_path / "runs"), (str(roots["north"]),))
    at_site = read_job(job / "app" / "custom", place)
    here, there = client_plan(federation(values), "north"), client_plan(at_site, "north")
    moved = ("bundle_root", "output_dir", "export_path")
    same = {key: value for key, value in here.overrides.items() if key not in moved}
    assert same == {key: value for key, value in there.overrides.items() if key not in moved}
    assert there.overrides["dataset_dir"] == str(roots["north"])
    assert there.folder == str(tmp_path / "runs" / "tiny" / "clients" / "north")
    assert (here.updates, here.aggregator) == (there.updates, there.aggregator)
    assert at_site.clients["south"].data_roots == ()


def test_a_job_writes_within_the_sites_folder(job, roots, tmp_path):
    custom = shutil.copytree(job / "app" / "custom", tmp_path / "custom")
    place = Place("north", str(tmp_path / "runs"), (str(roots["north"]),))
    (custom / "job.yaml").write_text("within: factory")
    assert read_job(custom, place).output_dir == str(tmp_path / "runs" / "tiny" / "factory")
    (custom / "job.yaml").write_text("within: ../../elsewhere")
    with pytest.raises(InputError, match=r"\.\./\.\./elsewhere: leaves .*runs/tiny; put"):
        read_job(custom, place)


def test_a_job_says_all_that_the_file_says(values, roots):
    changes = {
        "round_timeout": 2.5,
        "min_clients": 1,
        "largest_update": None,
        "seed": 7,
        "clients_per_round": 2,
    }
    changes["aggregator"] = {"_target_": "shared_components.federation.FedProx", "mu": 0.5}
    whole = federation(values, **changes)
    again = federation(
        {**job_values(whole), "bundle": values["bundle"], "clients": values["clients"]}, output_dir="o"
    )
    different = {key for key, value in whole.as_dict().items() if again.as_dict()[key] != value}
    assert different <= {"output_dir", "workers"}


def test_what_a_federation_goes_on_from_travels_in_the_job_without_its_path(values, roots, tmp_path):
    weights = {"model.0.conv.weight": torch.rand(3)}
    file = save_tensors(
        tmp_path / "secret" / "factory.pt", {"model": weights, "description": {"domains": ["t1"]}}
    )
    whole = federation(values, start=str(file), engine="nvflare")
    custom = write_job(whole, tmp_path / "jobs", FederationController()) / "app" / "custom"
    start, before = (
        start_of(read_job(custom, Place("server", str(tmp_path / "runs")))),
        read_start(file, "tiny"),
    )
    assert torch.equal(start.weights["model.0.conv.weight"], weights["model.0.conv.weight"])
    assert (start.digest, start.description) == (before.digest, before.description)
    assert start.words == "factory.pt"
    at_site = client_plan(
        read_job(custom, Place("north", str(tmp_path / "runs"), (str(roots["north"]),))), "north"
    )
    assert Path(at_site.start) == custom / "start.pt"  # what a client begins with, in whichever round
    assert not any(b"secret" in each.read_bytes() for each in custom.glob("*.*"))


def test_clients_need_no_data_in_the_administrators_file(values):
    named = {name: {"domain": client["domain"]} for name, client in values["clients"].items()}
    whole = federation_from({**values, "clients": named}, source=Path("f.yaml"), elsewhere=True)
    assert job_values(whole) == job_values(federation(values)) | {"min_clients": whole.min_clients}
    assert "dataset_dir" not in whole.client_overrides("north")
    with pytest.raises(InputError, match="client 'north': 'data_root' is missing"):
        federation_from({**values, "clients": named}, source=Path("f.yaml"))


def test_a_site_that_is_no_client_is_told(job, tmp_path):
    place = Place("nort", str(tmp_path), (str(tmp_path),))
    with pytest.raises(InputError, match="site nort is no client of this federation; its clients are island"):
        read_job(job / "app" / "custom", place)


def test_a_data_root_in_the_overrides_is_not_sent(values, roots):
    whole = federation(values, overrides={"kill": {"marker": f"{roots['south']}/killed"}})
    with pytest.raises(InputError, match=r"client south: its data_root .* stands elsewhere"):
        job_values(whole)


def test_a_relative_path_into_a_data_root_is_not_sent(values, roots, monkeypatch):
    monkeypatch.chdir(roots["south"].parent)
    whole = federation(values, overrides={"kill": {"marker": f"{roots['south'].name}/dataset.json"}})
    with pytest.raises(InputError, match=r"client south: its data_root .* stands elsewhere"):
        job_values(whole)


def test_a_folder_whose_name_begins_alike_is_no_data_root(values, roots):
    overrides = {"kill": {"marker": f"{roots['south']}x/killed"}}
    assert job_values(federation(values, overrides=overrides))["overrides"] == overrides


def test_something_else_in_the_way_stays(values, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is in the way and no job"):
        write_job(federation(values), tmp_path, FederationController())
    assert (tmp_path / "tiny" / "mine.txt").is_file()


def test_a_job_is_written_anew_over_an_old_one(job, values):
    again = write_job(federation(values, rounds=9), job.parent, FederationController())
    assert again == job
    assert yaml.safe_load((job / "app" / "custom" / "federation.yaml").read_text())["rounds"] == 9
