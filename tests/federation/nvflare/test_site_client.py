"""A site by itself: a job's tasks, done in a worker process, without NVFlare in between."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
import yaml

from shared_components.federation.budget import Budget
from shared_components.federation.local import LocalEngine
from shared_components.federation.start import Start
from shared_components.files import load_tensors, save_tensors
from shared_components.records import read_table
from tests.federation.tiny import federation, file_values, make_root

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.controller import FederationController
from shared_components.federation.nvflare.failures import WITHHELD, Told
from shared_components.federation.nvflare.job import write_job
from shared_components.federation.nvflare.message import Message, Work
from shared_components.federation.nvflare.places import VARIABLE
from shared_components.federation.nvflare.site_client import SiteClient, run_task
from shared_components.federation.nvflare.site_tasks import _jobs, site_job


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A kit with a job that has been deployed to it, for the one client of a federation."""
    monkeypatch.delenv(VARIABLE, raising=False)
    root = make_root(tmp_path / "data", "t1", 3, seed=1)
    values = file_values(dict.fromkeys(("north", "south", "island"), root), tmp_path / "local")
    values["clients"] = {"north": values["clients"]["north"]}
    kit = tmp_path / "kit"
    job = write_job(federation(values), kit, FederationController())
    (kit / "local").mkdir()
    (kit / "local" / "fedfoundry.yaml").write_text(yaml.safe_dump({"data_root": str(root)}))
    return values, kit, job / "app" / "custom"


def test_a_site_alone_gives_what_the_local_engine_gives(site):
    values, kit, custom = site
    with SiteClient(custom, kit, "north") as client:
        assert client.answer("build", Message({"round": 0})).values == {"images": 3}
        weights = client.answer("initial_weights", Message()).tensors
        for number in (1, 2, 3):
            if number == 2:  # as if memory had run out in between
                os.kill(client._lane._worker._pool.submit(os.getpid).result(), signal.SIGKILL)
                lost = client.answer("train", Message({"round": 2, "before": 1}, weights))
                assert "the worker process died" in lost.failure and not lost.tensors
            answer = client.answer("train", Message({"round": number, "before": number - 1}, weights))
            assert answer.failure is None and answer.values["images"] == 3 and answer.values["seconds"] > 0
            weights = answer.tensors
        deliverable = client.answer("export", Message({"round": 3}, weights))
    expected = LocalEngine(federation(values, output_dir=values["output_dir"]), quiet=True).run()
    model = load_tensors(expected / "global.pt")["model"]
    assert model.keys() == weights.keys() and all(torch.equal(model[name], weights[name]) for name in model)
    assert deliverable.files == {"tiny_bundle.pt": (kit / "fedfoundry/tiny/tiny_bundle.pt").read_bytes()}
    found = load_tensors(kit / "fedfoundry/tiny/tiny_bundle.pt")["model"]
    local = load_tensors(expected / "tiny_bundle.pt")["model"]
    assert all(torch.equal(local[name], found[name]) for name in local)
    own = kit / "fedfoundry/tiny/clients/north"
    sent = [(row["task"], row["about"], row["files"]) for row in read_table(own / "sent.csv", "")]
    assert sent == [
        ("build", "0", ""),
        ("initial_weights", "", ""),
        *(("train", number, "") for number in "123"),
        ("export", "3", "tiny_bundle.pt"),
    ]
    size = sum(tensor.nbytes for tensor in weights.values())
    assert {row["bytes"] for row in read_table(own / "sent.csv", "") if row["task"] == "train"} == {str(size)}
    assert "- updates to 3 rounds, the last of round 3" in (own / "site_report.md").read_text()
    assert not list(kit.rglob("received.pt")) and not list(kit.rglob("update.pt"))


def test_whatever_goes_wrong_is_an_answer(site):
    _, kit, custom = site
    with SiteClient(custom, kit, "north") as client:
        assert client.answer("dance", Message()).failure.startswith(
            "task dance: unknown here; the tasks are "
        )
        assert "it has no state of any round" in client.answer("build", Message({"round": 3})).failure
        slow = client.answer("build", Message({"round": 0}, timeout=0.001))
        assert slow.failure.startswith("no answer within 0.001 s (round_timeout)")
        (kit / "local" / "fedfoundry.yaml").unlink()
        assert "expected the site file of north" in client.answer("build", Message({"round": 0})).failure
        assert "Traceback" in (custom.parents[1] / "error.txt").read_text()


@pytest.mark.parametrize(
    ("task", "values", "wrong"),
    [
        (
            "train",
            {"round": "x/../../PWNED", "before": 0},
            "round: expected a whole number from 1 to 3, found",
        ),
        ("train", {"round": 4, "before": 0}, "round: expected a whole number from 1 to 3, found 4"),
        (
            "train",
            {"round": 2, "before": "x/../../PWNED"},
            "before: expected a whole number from 0 to 1, found",
        ),
        ("train", {"round": 2}, "before: expected a whole number from 0 to 1, found None"),
        ("build", {"round": True}, "round: expected a whole number from 0 to 3, found True"),
        ("export", {"round": "../x"}, "round: expected a whole number from 0 to 3, found"),
    ],
)
def test_the_number_of_a_round_names_no_other_place(site, task, values, wrong):
    _, kit, custom = site
    with pytest.raises(Told, match=f"{wrong}|its cause may name what stays"):
        run_task(custom, kit, "north", task, Work(values, kit / "received.pt", {}, kit))
    own = kit / "fedfoundry/tiny/clients/north"
    assert wrong in (own / "error.txt").read_text() and not list(kit.rglob("*PWNED*"))
    assert "- updates to 0 rounds\n" in (own / "site_report.md").read_text()


def test_a_job_with_less_privacy_than_the_site_demands_is_refused_whatever_it_asks_for(site):
    _, kit, custom = site
    place = kit / "local" / "fedfoundry.yaml"
    place.write_text(place.read_text() + "privacy: {max_norm: 0.5, noise_multiplier: 1}\n")
    with SiteClient(custom, kit, "north") as client:
        for task in ("check", "build", "train"):
            answer = client.answer(task, Message({"round": 1, "before": 0}))
            assert answer.values == {} and answer.failure == (
                "its site demands more privacy than the federation file gives: max_norm 0.5, found no clip; "
                "noise_multiplier 1, found noise 0"
            )
    assert not (kit / "fedfoundry").exists()


def test_other_data_than_the_run_began_with_are_refused_by_the_site(site):
    values, kit, custom = site
    with SiteClient(custom, kit, "north") as client:
        report = client.answer("check", Message())
        assert report.values["volumes"]["training"] == [3, 3] and report.values["faults"] == {}
        client.answer("build", Message({"round": 0}))
        weights = client.answer("initial_weights", Message()).tensors
        assert client.answer("train", Message({"round": 1, "before": 0}, weights)).failure is None
        images = Path(values["clients"]["north"]["data_root"]) / "images"
        (images / "s0.nii.gz").write_bytes((images / "s1.nii.gz").read_bytes())
        failure = client.answer("build", Message({"round": 1})).failure
        assert failure.startswith(
            "its data are not those that the rounds so far were trained on, as error.txt"
        )
        assert "s0" not in failure
    own = kit / "fedfoundry/tiny/clients/north"
    assert "images/s0.nii.gz of training is another file" in (own / "error.txt").read_text()
    last = read_table(own / "sent.csv", "")[-1]
    assert (last["task"], last["about"], last["values"]) == ("build", "1", "failure")
    assert last["bytes"] == str(len(failure))


def test_a_failure_that_names_a_patients_file_stays_at_the_site(site):
    values, kit, custom = site
    images = Path(values["clients"]["north"]["data_root"]) / "images"
    (images / "s0.nii.gz").unlink()
    with SiteClient(custom, kit, "north") as client:
        assert client.answer("build", Message({"round": 0})).failure.endswith(WITHHELD)
    assert "s0.nii.gz" in (kit / "fedfoundry/tiny/clients/north/error.txt").read_text()


@pytest.mark.parametrize(("rehearsal", "counted"), [(False, 0.0), (True, 2.0)])
def test_what_a_start_has_spent_counts_where_the_sites_own_file_has_not_counted_it(
    site, tmp_path, rehearsal, counted
):
    values, kit, _ = site
    start = Start("", {"model.0.weight": torch.zeros(1)}, {}, "digest", spent={"north": 2.0})
    values["start"] = str(save_tensors(tmp_path / "start.pt", start.content(["north"])))
    job = write_job(federation(values), tmp_path / "job", FederationController())
    own = {"data_root": str(tmp_path / "data"), "rehearsal": rehearsal}
    (kit / "local" / "fedfoundry.yaml").write_text(yaml.safe_dump(own))
    for _ in range(2):
        _jobs.clear()
        plan = site_job(job / "app" / "custom", kit, "north").plan
    assert Budget(plan.budget).squares == counted
