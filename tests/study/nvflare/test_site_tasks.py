"""What leaves a site follows from its own plan and demand, whatever a coordinator asks for."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.client_entry import Demand
from shared_components.federation.federation import client_plan
from shared_components.files import save_tensors
from shared_components.study.stage import Done
from tests.study.nvflare.test_study_job import described
from tests.study.test_several_labelled import FEDBN, made
from tests.study.test_several_labelled import values as several_values

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.message import Work
from shared_components.federation.nvflare.places import Place
from shared_components.federation.nvflare.site_tasks import SiteJob
from shared_components.study.nvflare import site_tasks
from shared_components.study.nvflare.study_job import job_parts, site_stages

__all__ = ["several_values"]
NOISY = {"privacy": {"clip": 0.1, "noise": 8.0}}


def site(values: dict, tmp_path: Path, demand: Demand | None = None, name: str = "west", **study):
    """A labelled site in a job, and what all sites tell of their data."""
    federation = made({**values, "output_dir": str(tmp_path / "job")}, joint=False, **study)
    told = described({client: list(own.data_roots) for client, own in federation.clients.items()})
    clients = {
        client: own if client == name else replace(own, data_roots=())
        for client, own in federation.clients.items()
    }
    place = Place(name, str(tmp_path), federation.clients[name].data_roots, demand=demand)
    job = replace(federation, clients=clients, output_dir=f"{federation.output_dir}/factory")
    return SiteJob(job, client_plan(job, name, demand), place, job_parts(federation)), told


@pytest.fixture
def trained(monkeypatch) -> None:
    """Stages that write a model at once."""

    def run_stage(stage, fingerprint):
        save_tensors(stage.folder / "model.pt", {"model": {"w": torch.zeros(1)}})
        return Done(1.0, "0" * 16)

    monkeypatch.setattr(site_tasks, "run_stage", run_stage)


def left(job: SiteJob, told: dict, folder: Path, key: str = "west/source_model") -> list[str]:
    """What a site sends of a stage."""
    values = {"stage": key, "clients": told, "before": [], "needs": {}, "trained": {}, "carries": True}
    (archive,) = site_tasks.TASKS["stage"](job, Work(values, None, {}, folder)).files
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def test_a_model_trained_alone_stays_where_updates_get_noise(several_values, tmp_path, trained):
    demand = Demand(noise_multiplier=8.0, epsilon_at_most=3.0)
    job, told = site({**several_values, **NOISY}, tmp_path, demand)
    assert left(job, told, tmp_path) == []
    open_job, told = site(several_values, tmp_path / "open")
    assert left(open_job, told, tmp_path) == ["model.pt"]  # for the table of every model at every client


def test_a_site_that_demands_noise_is_no_source_alone(several_values, tmp_path, trained):
    without = {**several_values, "study": {**several_values["study"]}}
    del without["study"]["federated_source"]
    job, told = site({**without, **NOISY}, tmp_path, Demand(noise_multiplier=8.0))
    for name in ("north", "south"):
        counts = {split: {**count, "labelled": 0} for split, count in told[name]["counts"].items()}
        told[name] = {**told[name], "counts": counts}
    with pytest.raises(InputError, match=r"client west: its site demands noise, .* at one client alone"):
        left(job, told, tmp_path)
    trusting = replace(job, place=replace(job.place, demand=None))
    assert left(trusting, told, tmp_path) == ["model.pt"]


def test_no_stage_is_at_work_for_a_model_that_stays(several_values, tmp_path):
    job, told = site({**several_values, **NOISY}, tmp_path)
    study = site_tasks.place_study(job.federation, job.parts, told, job.place)
    keys = {stage.key for stage in site_stages(study)}
    assert {"west/source_model", "west/source_model_predictions", "south/adaptation"} <= keys
    assert "west/federated_source_predictions" in keys and "south/source_model_predictions" not in keys


def test_norms_of_the_source_alone_are_handed_out(several_values, tmp_path):
    job, told = site(several_values, tmp_path, name="north", federated_source={"aggregator": FEDBN})
    own = Work({"clients": told, "variant": "source_model"}, None, {}, tmp_path)
    (file,) = site_tasks.TASKS["source_model.own"](job, own).files
    assert file.parts[-4:] == ("source_model", "clients", "north", "adaptation.pt")
    job, _ = site(several_values, tmp_path, federated_source={"aggregator": FEDBN})
    with pytest.raises(InputError, match="found north to be its source; the norms of this site stay here"):
        site_tasks.TASKS["source_model.own"](job, own)
    shared, _ = site(several_values, tmp_path / "shared", name="north")
    with pytest.raises(InputError, match="the norms of this site stay here"):
        site_tasks.TASKS["source_model.own"](shared, own)


def test_no_part_is_taken_in_a_training_whose_norms_would_leave_without_noise(several_values, tmp_path):
    job, told = site({**several_values, **NOISY}, tmp_path, federated_source={"aggregator": FEDBN})
    work = Work({"clients": told, "variant": "source_model", "round": 0}, None, {}, tmp_path)
    with pytest.raises(InputError, match="federated_source: with FedBN the model that the other clients get"):
        site_tasks.TASKS["source_model.build"](job, work)
