"""The NVFlare engine against the local one, on NVFlare's simulator: every tensor equal."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import torch

from shared_components.federation.budget import Ledger
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import make_engine
from shared_components.federation.nvflare.simulator import LOST_AFTER, client_places, rehearse
from shared_components.federation.privacy import spent
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.run_folder import RunFolder
from shared_components.files import load_tensors
from shared_components.networks.factory import factory_description
from tests.federation.nvflare.processes import REPO, federate, killed_at, left_running
from tests.federation.tiny import file_values, write_file
from tests.study.test_study import make_client

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.controller import FederationController
from shared_components.federation.nvflare.job import write_job

SMOKE = ["common.yaml", "train.yaml", "smoke.yaml"]


def run(values: dict, engine: str, resume: bool = False) -> Path:
    output_dir = str(Path(values["output_dir"]) / engine)
    federation = federation_from(
        {**values, "engine": engine, "output_dir": output_dir}, source=Path("f.yaml")
    )
    return make_engine(federation, quiet=True).run(resume=resume)


def tensors(file: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a file, by the path of keys that leads to it."""
    found = {}

    def gather(value, path):
        if isinstance(value, torch.Tensor):
            found[path] = value
        elif isinstance(value, dict | list | tuple):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                gather(part, f"{path}/{key}")

    gather(load_tensors(file), "")
    return found


def assert_same_run(first: Path, second: Path, files: tuple[str, ...]) -> None:
    for name in files:
        expected, found = tensors(first / name), tensors(second / name)
        assert expected and expected.keys() == found.keys()
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == [], name
    rows, others = read_rows(first / "rounds.csv"), read_rows(second / "rounds.csv")
    for row, other in zip(rows, others, strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}


def factory_values(roots, tmp_path, **values):
    """A federation file of the factory at its smallest size."""
    bundle = str(REPO / "bundles" / "factory")
    own = {"bundle": bundle, "configs": SMOKE, "overrides": {"spacing": 2.0}}
    return file_values(roots, tmp_path) | own | values


@pytest.fixture
def joined(roots, tmp_path):
    """The file of a hospital that joins a trained factory, and the folder of that one's federation."""
    values = factory_values(roots, tmp_path, rounds=1, updates_per_round=1)
    clients = {name: values["clients"][name] for name in ("north", "south")}
    earlier = {**values, "name": "earlier", "clients": clients, "domains": ["t1", "t2"]}
    start = run(earlier | {"output_dir": str(tmp_path / "earlier")}, "local")
    return {**values, "start": str(start)}, start


def test_a_hospital_that_joins_brings_its_own_condition_alone(joined, tmp_path):
    values, start = joined
    folder = run(values, "local")
    first = load_tensors(folder / "global.previous.pt")["model"]
    before = load_tensors(start / "global.pt")["model"]
    grown = ("condition.linear.weight", "slices_seen")
    assert [n for n in first if not n.endswith(grown) and not torch.equal(first[n], before[n])] == []
    assert factory_description(folder / "factory.pt")["domains"] == ["t1", "t2", "pet"]


@pytest.mark.thorough
def test_factory_that_a_hospital_joins_equals_the_local_run(joined, tmp_path):
    values = joined[0] | {"rounds": 3, "updates_per_round": 2, "clients_per_round": 2}
    folder = run(values, "nvflare")
    states = load_tensors(folder / "global.pt")["states"]
    files = ("global.pt", "factory.pt", *(f"clients/{name}/state.{r}.pt" for name, r in states.items() if r))
    assert len(files) > 3
    assert_same_run(run(values, "local"), folder, files)
    assert left_running(tmp_path) == []


@pytest.mark.thorough
def test_factory_that_was_killed_and_resumed_equals_the_unbroken_local_run(joined, tmp_path):
    values = joined[0] | {"rounds": 4, "updates_per_round": 2, "clients_per_round": 2}
    file = write_file(tmp_path / "f.yaml", values, output_dir=str(tmp_path / "nvflare"), engine="nvflare")
    lines = killed_at(federate("run", file, "--nocheck"), "round 2/4")
    assert [line.split(" | ")[0] for line in lines if line.startswith("round")] == ["round 1/4", "round 2/4"]
    assert left_running(tmp_path) == []
    run(values, "nvflare", resume=True)
    states = load_tensors(tmp_path / "nvflare" / "global.pt")["states"]
    files = ("global.pt", "factory.pt", *(f"clients/{name}/state.{r}.pt" for name, r in states.items() if r))
    assert len(files) > 3
    assert_same_run(run(values, "local"), tmp_path / "nvflare", files)
    assert left_running(tmp_path) == []


@pytest.mark.thorough
def test_segmentation_with_fedprox_over_sites_of_one_and_two_domains(tmp_path):
    every = ("training", "validation", "test")
    for seed, domain in enumerate("abcd"):
        make_client(tmp_path / domain, domain, every, seed)
    values = {
        "bundle": str(REPO / "bundles" / "segmentation"),
        "configs": SMOKE,
        "domains": ["a", "b", "c", "d"],
        "labels": {0: "background", 1: "brain"},
        "clients": {
            "both": {"data_root": [str(tmp_path / "a"), str(tmp_path / "b")], "domain": ["a", "b"]},
            "one": {"data_root": str(tmp_path / "c"), "domain": "c"},
            "other": {"data_root": str(tmp_path / "d"), "domain": "d"},
        },
        "rounds": 2,
        "updates_per_round": 1,
        "workers": 0,
        "aggregator": {"_target_": "shared_components.federation.FedProx", "mu": 0.1},
        "overrides": {"spacing": 2.0, "picture_every": 0, "val_interval": 0},
        "output_dir": str(tmp_path),
    }
    assert_same_run(run(values, "local"), run(values, "nvflare"), ("global.pt", "segmentation.pt"))


@pytest.mark.thorough
def test_fedbn_leaves_every_client_a_model_of_its_own_and_clipped_halves_travel(roots, tmp_path):
    aggregator = {"_target_": "shared_components.federation.FedBN", "mu": 0.01}
    travels = {"exchange": {"dtype": "float16", "down": "float16"}, "privacy": {"clip": 0.05}}
    values = file_values(roots, tmp_path) | {"aggregator": aggregator, "rounds": 2, **travels}
    files = ("global.pt", *(f"clients/{name}/tiny_bundle.pt" for name in roots))
    local = run(values, "local")
    assert not any("norm" in name.lower() for name in tensors(local / "global.pt"))
    assert_same_run(local, run(values, "nvflare"), files)
    size = sum(tensor.nbytes for tensor in tensors(local / "global.pt").values())
    rows = read_rows(tmp_path / "nvflare" / "rounds.csv")
    assert {(row["bytes_up"], row["bytes_down"]) for row in rows} == {(str(size // 2), str(size // 2))}


@pytest.mark.thorough
def test_noise_is_told_with_every_round_and_counted_at_the_site(roots, tmp_path, capfd):
    noise = {"privacy": {"clip": 0.1, "noise": 2.0}, "exchange": {}, "rounds": 2, "engine": "nvflare"}
    aggregator = {"_target_": "shared_components.federation.FedBN"}
    values = file_values(roots, tmp_path / "server") | noise | {"aggregator": aggregator}
    federation = federation_from(values, source=Path("f.yaml"))
    folder, controller = RunFolder(federation.output_dir), FederationController(lost_after=LOST_AFTER)
    sites = client_places(federation, {name: tmp_path / "sites" / name for name in roots})
    with folder.lock.held():
        folder.open(federation)
        rehearse(lambda place: write_job(federation, place, controller), sites, folder.root)
    told = [line for line in capfd.readouterr().out.splitlines() if line.startswith("round ")]
    epsilons = [spent(2.0, updates, 1e-5) for updates in (1, 2)]
    assert len(told) == 2 and all("no losses" in line for line in told)
    for line, epsilon in zip(told, epsilons, strict=True):
        assert f" | epsilon up to {epsilon:.3g} at delta 1e-05" in line
    rows = read_rows(folder.rounds_file)
    assert [(row["round"], row["released"]) for row in rows] == [("1", "1")] * 3 + [("2", "2")] * 3
    for site in sites:
        assert Ledger(Path(site.folder) / "clients" / site.name).updates == 2
        assert [path.parent.name for path in Path(site.folder).rglob("privacy.json")] == [site.name]
    assert not list(folder.root.rglob("privacy.json")), "the norm before clipping has left its client"


@pytest.mark.parametrize("resumed", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_clients_that_are_killed_or_hang_are_left_out_and_the_others_go_on(roots, tmp_path, capfd, resumed):
    """One is dead for good: with FedBN its own model is missing at the end, until it is back."""
    kill = {"marker": str(tmp_path / "killed"), "client": "south", "epoch": 2, "update": 2}
    hang = {"client": "north", "kind": "stopped", "round": 2}
    values = file_values(roots, tmp_path) | {
        "overrides": {"kill": kill, "misbehave": hang},
        "rounds": 3,
        "round_timeout": 20.0,  # a new process must read its images within it, on a busy machine too
        "min_clients": 1,
        "aggregator": {"_target_": "shared_components.federation.FedBN"},
    }
    folder = run(values, "nvflare")
    rows = {(row["round"], row["client"]): row for row in read_rows(folder / "rounds.csv")}
    left_out = {where: row["left_out"] for where, row in rows.items() if row.get("left_out")}
    assert left_out.keys() == {("2", "south"), ("3", "south"), ("2", "north")}
    assert all(left_out[number, "south"].startswith("its process died") for number in "23")
    assert left_out["2", "north"].startswith("no answer within 20 s (round_timeout)")
    content = load_tensors(folder / "global.pt")
    assert content["round"] == 3 and content["states"] == {"island": 3, "north": 3, "south": 1}
    assert re.search(
        r"warning: client south, the export: its process died .*; use --resume when", capfd.readouterr().err
    )
    assert RunFolder(folder).left_out_of_export() == {"south": left_out["3", "south"]}
    exported = [name for name in sorted(roots) if (folder / f"clients/{name}/tiny_bundle.pt").is_file()]
    assert exported == ["island", "north"]
    assert left_running(tmp_path) == []
    if resumed:
        assert (run(values, "nvflare", resume=True) / "clients/south/tiny_bundle.pt").is_file()
        assert RunFolder(folder).left_out_of_export() == {}
        assert left_running(tmp_path) == []


@pytest.mark.thorough
def test_ctrl_c_ends_everything(roots, tmp_path):
    values = file_values(roots, tmp_path) | {"rounds": 100}
    file = write_file(tmp_path / "f.yaml", values, output_dir=str(tmp_path / "nvflare"), engine="nvflare")
    process = federate("run", file, "--nocheck")
    lines = killed_at(process, "round 1/100", signal.SIGINT)
    assert process.returncode == 130
    assert lines[-2].endswith("interrupted; whole rounds and finished stages are kept, go on with --resume")
    assert left_running(tmp_path, within=1.0) == []
