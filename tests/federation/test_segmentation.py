"""The segmentation bundle as a federation: sites with one or several domains, with and without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.data_check import check_clients
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import LocalEngine
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.status import run_status
from shared_components.files import load_tensors
from tests.study.test_study import REPO, make_client


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation")
    labelled = ("training", "validation", "test")
    for seed, (name, splits) in enumerate({"a": labelled, "b": (), "c": labelled, "d": ()}.items()):
        make_client(folder / name, name, splits, seed)
    return {
        "bundle": str(REPO / "bundles" / "segmentation"),
        "configs": ["common.yaml", "train.yaml", "meta_learning.yaml", "smoke.yaml"],
        "domains": ["a", "b", "c", "d"],
        "labels": {0: "background", 1: "brain"},
        "clients": {
            "both": {"data_root": [str(folder / "a"), str(folder / "b")], "domain": ["a", "b"]},
            "one": {"data_root": str(folder / "c"), "domain": "c"},
        },
        "rounds": 2,
        "updates_per_round": 2,
        "workers": 0,
        "overrides": {"spacing": 2.0, "picture_every": 0},
        "output_dir": str(folder / "out"),
    }


def run(values: dict, name: str, resume: bool = False, **changes) -> Path:
    output_dir = str(Path(values["output_dir"]) / name)
    federation = federation_from({**values, "output_dir": output_dir, **changes}, source=Path("f.yaml"))
    check_clients(federation)
    return LocalEngine(federation, quiet=True).run(resume=resume)


def unequal(first, second) -> list[str]:
    assert first.keys() == second.keys() and first
    return [name for name in first if not torch.equal(first[name], second[name])]


def segmenting_name(name: str) -> str:
    """Where the network has a tensor of the exported model: the running average of the anatomy encoder."""
    return name.replace("anatomy_encoder.", "averaged_encoder.module.", 1)


def test_clients_of_several_domains_train_one_model(values):
    folder = run(values, "prox", aggregator={"_target_": "shared_components.federation.FedProx", "mu": 0.1})
    weights = load_tensors(folder / "global.pt")["model"]
    assert {"anatomy_encoder", "domain_classifier"} < {name.split(".")[0] for name in weights}
    assert weights["domain_classifier.weight"].shape[0] == 4
    model = load_tensors(folder / "segmentation.pt")
    assert model["model"].keys() and model["description"]["domains"] == ["a", "b", "c", "d"]
    averaged = {name: weights[segmenting_name(name)] for name in model["model"]}
    assert unequal(model["model"], averaged) == []
    rows = read_rows(folder / "rounds.csv")
    assert {row["client"]: row["images"] for row in rows} == {"both": "32", "one": "16"}
    assert run_status(folder).exported == (folder / "segmentation.pt",)


def test_a_client_without_any_label_takes_part(values):
    data = Path(values["clients"]["one"]["data_root"]).parent
    clients = {**values["clients"], "none": {"data_root": str(data / "d"), "domain": "d"}}
    with pytest.raises(InputError, match=r"client none, being built: .*validation") as caught:
        run(values, "unlabelled", rounds=1, clients=clients)
    assert "Failed to instantiate" not in str(caught.value)
    overrides = {**values["overrides"], "val_interval": 0}
    folder = run(values, "without", rounds=1, clients=clients, overrides=overrides)
    rows = {row["client"]: row for row in read_rows(folder / "rounds.csv")}
    assert float(rows["none"]["unlabelled"]) > 0 and "dice" not in rows["none"]
    assert float(rows["one"]["dice"]) > 0


def test_clients_of_whom_nobody_has_a_label_are_refused(values):
    data = Path(values["clients"]["one"]["data_root"]).parent
    clients = {name: {"data_root": str(data / name), "domain": name} for name in ("b", "d")}
    overrides = {**values["overrides"], "val_interval": 0}
    with pytest.raises(
        InputError, match="labels: expected some at one client at least, found none of 4 training"
    ):
        run(values, "nobody", clients=clients, overrides=overrides)


def test_a_client_without_any_label_learns_from_the_common_models_labels(values):
    """By the default recipe: what it adds begins with the teacher."""
    data = Path(values["clients"]["one"]["data_root"]).parent
    clients = {**values["clients"], "none": {"data_root": str(data / "d"), "domain": "d"}}
    overrides = {**values["overrides"], "val_interval": 0, "warm_up_epochs": 1, "teacher_epochs": [2]}
    plain = {
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"],
        "overrides": overrides,
        "clients": clients,
    }
    folder = run(values, "plain", **plain)
    rows = [row for row in read_rows(folder / "rounds.csv") if row["client"] == "none"]
    assert [float(row.get("unlabelled") or 0) > 0 for row in rows] == [False, True]
    sent = load_tensors(folder / "global.pt")["model"]
    assert {name.split(".")[0] for name in sent} == {"anatomy_encoder", "averaged_encoder"}


def test_private_norms_and_private_modules_resume_exactly(values):
    changes = {
        "aggregator": {"_target_": "shared_components.federation.FedBN", "mu": 0.1},
        "overrides": {
            **values["overrides"],
            "anatomy_encoder::norm": ["instance", {"affine": True}],
            "shared_modules": ["anatomy_encoder", "averaged_encoder", "decoder"],
            "val_interval": 0,
        },
    }
    whole = run(values, "whole", **changes)
    run(values, "broken", rounds=1, **changes)
    broken = run(values, "broken", resume=True, **changes)
    sent, again = (load_tensors(folder / "global.pt")["model"] for folder in (whole, broken))
    assert unequal(sent, again) == []
    assert {name.split(".")[0] for name in sent} == {"anatomy_encoder", "averaged_encoder", "decoder"}
    models = {f.parent.name: load_tensors(f)["model"] for f in whole.glob("clients/*/segmentation.pt")}
    differing = unequal(models["both"], models["one"])
    assert differing and all(".adn.N." in name for name in differing)
    assert not {segmenting_name(name) for name in differing} & set(sent)
    for client, model in models.items():
        resumed = load_tensors(broken / "clients" / client / "segmentation.pt")["model"]
        assert unequal(model, resumed) == []
