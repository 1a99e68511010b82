"""A study with two labelled clients and one with a few labels, at the smallest sizes."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from shared_components.errors import InputError
from shared_components.federation.federation_file import federation_from
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.nvflare.job_file import job_values
from shared_components.federation.privacy import spent
from shared_components.federation.rounds_log import RoundsCsv
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed
from shared_components.federation.status import run_status
from shared_components.files import load_tensors
from shared_components.study.client_stages import study_stages
from shared_components.study.federated_run import FederatedRun, by_engine, opened_study
from shared_components.study.findings import tell_study
from shared_components.study.matrix import published
from shared_components.study.origins import origins
from shared_components.study.plan import plan
from shared_components.study.roles import plan_study
from shared_components.study.runner import run_study
from shared_components.study.source_model import FEDERATED, source_federation, trained
from shared_components.study.study import EVERYBODY
from shared_components.study.summary import study_summary
from tests.federation.tiny import make_root
from tests.study.test_study import REPO, make_client

FEDBN = {"_target_": "shared_components.federation.FedBN"}


def make_few(root: Path, domain: str, seed: int) -> Path:
    """A data root of three training volumes, of which one has a label, and a labelled test volume."""
    make_root(root, domain, 4, seed)
    file = root / "dataset.json"
    description = json.loads(file.read_text())
    items = description["training"]
    training = [items[0], *({"image": item["image"]} for item in items[1:3])]
    file.write_text(json.dumps({**description, "training": training, "validation": [], "test": items[3:]}))
    return root


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    every = ("training", "validation", "test")
    roots = {
        "north": (make_client(folder / "data" / "north", "t1", every, 0), "t1"),
        "south": (make_few(folder / "data" / "south", "pet", 1), "pet"),
        "west": (make_client(folder / "data" / "west", "t2", ("training", "test"), 2), "t2"),
    }
    return {
        "name": "tiny study",
        "bundle": str(REPO / "bundles" / "factory"),
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"],
        "domains": ["t1", "t2", "pet"],
        "labels": {0: "background", 1: "brain"},
        "clients": {
            name: {"data_root": str(root), "domain": domain} for name, (root, domain) in roots.items()
        },
        "rounds": 1,
        "updates_per_round": 1,
        "workers": 0,
        "overrides": {"spacing": 2.0},
        "output_dir": str(folder / "out"),
        "study": {
            "choose": False,
            "jobs": 1,
            "baselines": False,
            "joint": True,
            "publish": "model",
            "federated_source": {"rounds": 2},
            "overrides": {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2},
            "pretrain": {"max_epochs": 1},
            "synthesize": {"volumes": 2, "slices": 4},
            "train": {"phases": [0, 1, 1]},
        },
    }


def made(values: dict, without: tuple[str, ...] = (), **study):
    section = {key: value for key, value in {**values["study"], **study}.items() if key not in without}
    return federation_from({**values, "study": section}, source=Path("study.yaml"))


@pytest.fixture(scope="module")
def finished(values) -> Path:
    """The folder of a study that has run."""
    return run_study(made(values), quiet=True).parent


def settings(folder: Path, *place: str) -> dict:
    return yaml.safe_load(folder.joinpath("clients", *place, "overrides.yaml").read_text())


def read_json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def test_roles_follow_from_labels_and_settings(values):
    study = plan_study(made(values))
    assert (study.sources, study.source, study.targets) == (("north", "west"), "north", ("south",))
    assert study.federates_source and study.has_few_labels("south") and not study.has_few_labels("north")
    alone = plan_study(made(values, without=("federated_source",), source="west"))
    assert (alone.source, alone.federates_source) == ("west", False)
    one = plan_study(made({**values, "clients": {n: values["clients"][n] for n in ("north", "south")}}))
    assert not one.federates_source


def test_labelled_clients_train_the_source_model_together(finished, values):
    federation = source_federation(plan_study(made(values)))
    assert list(federation.clients) == ["north", "west"]
    assert (federation.rounds, federation.updates_per_round) == (2, 2)
    assert load_tensors(finished / "source_model" / "global.pt")["round"] == 2
    for client in federation.clients:
        state = load_tensors(finished / "source_model" / "clients" / client / "state.2.pt")
        group = state["objects"]["optimizer"]["param_groups"][0]
        assert group["lr"] == pytest.approx(group["initial_lr"] / 2)  # of the second of two rounds
    model = load_tensors(finished / "source_model" / "adaptation.pt")
    assert model["description"]["domains"] == ["t1", "t2", "pet"]
    own = load_tensors(finished / "clients" / "north" / "source_model" / "model.pt")
    assert model["model"].keys() == own["model"].keys()


def test_synthetic_volumes_are_drawn_where_they_are_used_and_labelled_by_the_joint_model(finished):
    model = str(finished / "source_model" / "adaptation.pt")
    drawn, adapted = (settings(finished, "south", stage) for stage in ("synthetic", "adaptation"))
    assert drawn["source_model_path"] == adapted["source_model_path"] == model
    assert drawn["source_domain"] == "t1" and drawn["twin_domains"] == ["pet"]
    place = finished / "clients" / "south" / "synthetic"
    assert {root.name for root in place.iterdir() if root.is_dir()} == {"t1", "pet"}
    assert (adapted["source_dir"], adapted["twin_dir"]) == (str(place / "t1"), str(place / "pet"))
    assert not (finished / "clients" / "north" / "synthetic").exists()


def test_volumes_are_published_unless_the_file_says_otherwise(values):
    stages = {s.key: s for s in study_stages(plan_study(made(values, without=("publish",))))}
    assert "north/synthetic" in stages and "south/synthetic" not in stages
    adaptation = stages["south/adaptation"]
    assert adaptation.needs == ("north/synthetic",)
    assert adaptation.overrides["twin_dir"].endswith("/clients/north/synthetic/pet")
    assert stages["north/synthetic"].overrides["source_model_path"].endswith("/source_model/adaptation.pt")


def test_a_few_labels_are_used_by_their_own_client(finished, values):
    assert settings(finished, "south", "adaptation")["own_labels"] is True
    off = study_stages(plan_study(made(values, train={"phases": [0, 1, 1], "own_labels": False})))
    assert next(s for s in off if s.key == "south/adaptation").overrides["own_labels"] is False


def test_of_a_client_with_labels_alone_all_slices_of_a_batch_have_some(values):
    stages = {
        s.key: s
        for s in study_stages(plan_study(made(values, without=("federated_source",), sources=["north"])))
    }
    few, all_of_them = (stages[f"{name}/adaptation"].overrides for name in ("south", "west"))
    assert "labelled_per_batch" not in few and few["own_labels"] is True
    assert all_of_them["labelled_per_batch"] is None and all_of_them["own_labels"] is True


def test_where_labelled_patients_show_another_organ_no_shapes_travel(values):
    study = plan_study(made(values, choose=True, shapes=False))
    stages = {s.key: s for s in study_stages(study)}
    choice = stages["south/choice"]
    assert choice.overrides["shapes_paths"] == [] and choice.overrides["margin"] is None
    assert not [key for key in stages if key.endswith("/shapes")]
    assert not [need for need in choice.needs if need.endswith("/shapes")]
    assert any("without a label of its own; nothing went there for it." in line for line in origins(study))
    usual = {s.key: s for s in study_stages(plan_study(made(values, choose=True)))}
    assert "margin" not in usual["south/choice"].overrides and "north/shapes" in usual


def test_every_model_meets_every_labelled_client(finished):
    matrix = read_json(finished / "study.json")["matrix"]
    together, joint = "federated source model", "joint source model"
    models = {
        "source model of north": "clients/north/source_model/model.pt",
        "source model of west": "clients/west/source_model/model.pt",
        together: "source_model/adaptation.pt",
        joint: "joint_source/model.pt",
        "adaptation of south": "clients/south/adaptation/model.pt",
    }
    assert matrix["sites"] == ["north", "south", "west"]
    assert [row["model"] for row in matrix["models"]] == list(models)
    files = [file for row in matrix["models"] for file in row["scores"].values()]
    assert len(set(files)) == 15 and all((finished / file).is_file() for file in files)
    for row in matrix["models"]:
        for site, file in row["scores"].items():
            place = (finished / file).parent
            used = yaml.safe_load((place / "overrides.yaml").read_text())
            assert used["ckpt_path"] == str(finished / models[row["model"]])
            assert place.parent.name == site and f"/{site}" in used["dataset_dir"]


def test_page_and_summary_tell_whose_labels_made_what(finished):
    page, text = (finished / "report.html").read_text(), study_summary(finished)
    assert "Every model at every client" in page and 'class="missing"' not in page
    assert (
        "Federated source model: images and labels of north (2 labelled volumes) and west (2), which trained it "
        "together in 2 rounds of 2 updates (FedAvg)" in page
    )
    assert "labelled by the federated source model at south" in page
    assert "uses those of its own client: south (1 labelled volume)" in page
    assert "source_model/adaptation.pt  (trained together by north and west)" in text
    line = next(line for line in text.splitlines() if line.startswith("  adaptation of south"))
    assert len([cell for cell in line.split() if cell.startswith(("0.", "1."))]) == 3
    assert "all/source_model" in text
    start = text.index("  with the source model that the labelled clients have trained together:")
    assert "federated_source_predictions/overrides.yaml" in text[start:]


def run_again(finished: Path, tmp_path: Path, values: dict, **study) -> FederatedRun:
    """The federation of the labelled clients, opened again in a copy of its folder."""
    federation = source_federation(plan_study(made(values, **study)))
    shutil.copytree(finished / "source_model", tmp_path / "source_model")
    run = FederatedRun(replace(federation, output_dir=str(tmp_path / "source_model")), renewed=True)
    with run.folder.lock.held():
        run.open(True, False, FileDigests())
        run.train(by_engine(quiet=True))
    return run


def test_what_is_trained_is_kept(finished, values, tmp_path):
    before = load_tensors(finished / "source_model" / "global.pt")["model"]
    run = run_again(finished, tmp_path, values, train={"phases": [0, 2, 1]})
    file = run.folder.global_file
    assert file.stat().st_mtime_ns == (finished / "source_model" / "global.pt").stat().st_mtime_ns
    assert load_tensors(file)["model"].keys() == before.keys()


@pytest.mark.parametrize(
    "changes", [{"pretrain": {"learning_rate": 0.01}}, {"federated_source": {"rounds": 1}}]
)
def test_other_settings_train_it_anew(finished, values, tmp_path, changes):
    before = load_tensors(finished / "source_model" / "global.pt")["model"]
    run = run_again(finished, tmp_path, values, **changes)
    after = load_tensors(run.folder.global_file)
    assert after["round"] == run.federation.rounds
    assert any(not after["model"][name].equal(before[name]) for name in before)


def test_where_norms_are_private_each_labelled_client_uses_its_own_model(values):
    study = plan_study(made(values, federated_source={"aggregator": FEDBN}))
    paths = [trained(study, EVERYBODY, FEDERATED, site).path for site in ("north", "west", "south")]
    assert [Path(path).parent.name for path in paths] == ["north", "west", "north"]


@pytest.mark.parametrize(("said", "least"), [("all", 2), ("most", 2), (1, 1), (3, 2), (None, 2)])
def test_as_many_labelled_clients_must_answer_as_the_file_says(values, said, least):
    federation = made({**values, **({} if said is None else {"min_clients": said})})
    assert source_federation(plan_study(federation)).min_clients == least
    job = federation_from(
        {**values, **job_values(federation), "clients": values["clients"]}, Path("job.yaml")
    )
    assert (job.answering, job.min_clients) == (federation.answering, federation.min_clients)


def test_norms_that_get_no_noise_are_not_handed_out_where_updates_do(values):
    noisy = {**values, "privacy": {"clip": 1.0, "noise": 1.0}}
    study_stages(plan_study(made(noisy)))
    with pytest.raises(
        InputError, match="federated_source: with FedBN the model that the other clients get holds"
    ):
        study_stages(plan_study(made(noisy, federated_source={"aggregator": FEDBN})))


def test_check_tells_of_both_federations(values):
    text = plan(made(values))
    assert "then the source model, among north and west:" in text
    assert "source_model        2 rounds of 2 updates at each client, 4 updates" in text.replace(
        "  trains", ""
    )


def test_check_counts_the_rounds_for_which_a_client_is_drawn(values):
    """Of three clients that take turns in six rounds each trains in two, and then in the source model's two."""
    turns = {"rounds": 6, "clients_per_round": 1, "privacy": {"clip": 0.1, "noise": 8.0, "delta": 1e-5}}
    text = plan(made({**values, **turns}))
    told = f"updates of all 2 trainings count together: epsilon {spent(8.0, 4, 1e-5):.3g}"
    assert told in text


def test_force_never_removes_a_clients_data(values, tmp_path):
    """Where the check of the file has been passed by, as by a link that came later."""
    study = plan_study(made({**values, "output_dir": str(tmp_path / "out")}))
    stages = study_stages(study)
    root = shutil.copytree(values["clients"]["north"]["data_root"], stages[0].folder / "mine")
    clients = study.federation.clients
    moved = {**clients, "north": replace(clients["north"], data_roots=(str(root),))}
    study = replace(study, federation=replace(study.federation, clients=moved))
    with (
        pytest.raises(InputError, match="mine: a client's data lie where the study writes"),
        opened_study(study, stages, resume=False, force=True),
    ):
        pass
    assert (root / "dataset.json").is_file() and any((root / "images").iterdir())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"federated_source": {"round": 1}},
            r"federated_source: key 'round' is unknown \(did you mean 'rounds'",
        ),
        ({"federated_source": {"rounds": 0}}, "federated_source: 'rounds' must be a whole number from 1"),
        ({"federated_source": {"aggregator": {"_target_": "nowhere.Fed"}}}, "'aggregator' cannot be made"),
        ({"federated_source": 3}, "'federated_source' must hold 'key: value' lines, found 3"),
        ({"source": "north"}, "'source' is one client's model, 'federated_source' that of all labelled"),
        ({"publish": "images"}, "'publish' must be volumes or model, found 'images'"),
        ({"matrix": "yes"}, "'matrix' must be true or false, found 'yes'"),
    ],
)
def test_unusable_settings_are_told_before_anything_trains(values, section, message):
    with pytest.raises(InputError, match=message):
        study_stages(plan_study(made(values, **section)))


def test_a_federation_of_one_is_none(values):
    clients = {name: values["clients"][name] for name in ("north", "south")}
    with pytest.raises(InputError, match="is for two labelled clients or more, found north"):
        study_stages(plan_study(made({**values, "clients": clients})))


def test_nothing_is_compared_across_sites_if_the_file_says_so(values):
    study = plan_study(made(values, matrix=False, joint=False))
    names = {stage.name for stage in study_stages(study)}
    assert not any("_of_" in name for name in names) and "federated_source_predictions" in names
    assert [model.name for model in published(study)][2:] == ["federated source model", "adaptation of south"]


def test_other_data_at_a_site_train_it_anew(values, tmp_path):
    """At a server, which knows no more of the sites' data than that they are others."""
    federation = source_federation(plan_study(made({**values, "output_dir": str(tmp_path)})))
    elsewhere = replace(
        federation, clients={n: replace(c, data_roots=()) for n, c in federation.clients.items()}
    )

    def opened(state: str) -> FederatedRun:
        run = FederatedRun(elsewhere, renewed=True, states={"north": state, "west": "c"})
        with run.folder.lock.held():
            run.open(True, False, FileDigests())
        return run

    first = opened("a")
    first.folder.commit(Committed(1, {"w": torch.zeros(1)}, dict.fromkeys(elsewhere.clients, 1)))
    assert first.is_new and not opened("a").is_new
    assert opened("b").is_new and not first.folder.global_file.exists()


@pytest.mark.parametrize("label_domains", [[], ["t1"]])
def test_a_label_matters_to_a_factory_that_draws_labels_alone(values, tmp_path, label_domains):
    root = Path(shutil.copytree(values["clients"]["south"]["data_root"], tmp_path / "south"))
    clients = {**values["clients"], "south": {"data_root": str(root), "domain": "pet"}}
    changes = {"overrides": {**values["overrides"], "label_domains": label_domains}, "clients": clients}
    federation = made({**values, **changes, "output_dir": str(tmp_path / "out")})
    folder = RunFolder(federation.output_dir)

    def opened() -> Committed | None:
        with folder.lock.held():
            return folder.open(federation, resume=True)

    opened()
    folder.commit(Committed(1, {"w": torch.zeros(1)}, dict.fromkeys(federation.clients, 1)))
    described = read_json(root / "dataset.json")
    described["training"][1]["label"] = "labels/s1.nii.gz"
    (root / "dataset.json").write_text(json.dumps(described))
    told = "client south: images/s1.nii.gz of training has a label now; put them back"
    with pytest.raises(InputError, match=told) if label_domains else contextlib.nullcontext():
        assert opened() is not None


def test_other_slices_annotated_train_it_anew(values, tmp_path):
    root = Path(shutil.copytree(values["clients"]["north"]["data_root"], tmp_path / "north"))
    clients = {**values["clients"], "north": {"data_root": str(root), "domain": "t1"}}
    described = read_json(root / "dataset.json")

    def opened() -> FederatedRun:
        study = plan_study(made({**values, "clients": clients, "output_dir": str(tmp_path / "out")}))
        run = FederatedRun(source_federation(study), renewed=True)
        with run.folder.lock.held():
            run.open(True, False, FileDigests())
        return run

    first = opened()
    first.folder.commit(Committed(1, {"w": torch.zeros(1)}, dict.fromkeys(first.federation.clients, 1)))
    assert not opened().is_new
    described["training"][0]["annotated"] = [1]
    (root / "dataset.json").write_text(json.dumps(described))
    assert opened().is_new


def test_what_has_left_a_client_counts_in_a_training_begun_anew_without_it(values, tmp_path):
    """Also where its own count is at its site."""
    noisy = {"privacy": {"clip": 0.1, "noise": 8.0, "delta": 1e-5}, "output_dir": str(tmp_path)}
    federation = source_federation(plan_study(made({**values, **noisy})))

    def opened(*names: str, force: bool = False) -> RunFolder:
        clients = {name: replace(federation.clients[name], data_roots=()) for name in names}
        states = dict.fromkeys(names, "a")
        run = FederatedRun(replace(federation, clients=clients), renewed=True, states=states)
        with run.folder.lock.held():
            run.open(not force, force, FileDigests())
        return run.folder

    def commit(folder: RunFolder, **counts: int) -> None:
        fixed = {"round": 1, "images": 2, "seconds": 1.0, "bytes_up": 1, "bytes_down": 1, "epsilon": 9.0}
        rows = [{**fixed, "client": name, "released": number} for name, number in counts.items()]
        RoundsCsv(folder.rounds_file, 0).append(rows)
        folder.commit(Committed(1, {"w": torch.zeros(1)}, dict.fromkeys(counts, 1)))

    commit(opened("north", "west"), north=1, west=2)
    folder = opened("north")
    commit(folder, north=3)
    assert folder.released() == {"north": 3, "west": 2}
    assert f"west: takes part no longer  epsilon {spent(8.0, 2, 1e-5):.3g}" in str(run_status(folder.root))
    commit(opened("north", "west"), north=1, west=3)  # north has lost its folder
    assert opened("north").released() == {"north": 4, "west": 3}
    assert opened("north", force=True).released() == {}


def test_a_study_whose_client_is_gone_by_the_end_is_told_without_its_images(
    finished, values, tmp_path, capsys
):
    folder = shutil.copytree(finished, tmp_path / "study")
    gone = shutil.copytree(values["clients"]["south"]["data_root"], tmp_path / "south")
    clients = {**values["clients"], "south": {"data_root": str(gone), "domain": "pet"}}
    study = plan_study(made({**values, "clients": clients, "output_dir": str(folder)}))
    shutil.rmtree(gone)
    page = tell_study(study, [], {}, quiet=True)
    assert "warning: client south: no picture of its images: " in capsys.readouterr().err
    assert "south" in page.read_text(encoding="utf-8")
