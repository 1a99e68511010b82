"""The whole flow with a model for unseen scanners, at the smallest sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from shared_components.data import datalist
from shared_components.errors import InputError
from shared_components.federation.federation_file import federation_from
from shared_components.federation.file_digests import FileDigests
from shared_components.files import load_tensors
from shared_components.study.client_stages import study_stages
from shared_components.study.generalisation import synthetic_domains
from shared_components.study.roles import plan_study
from shared_components.study.runner import run_study
from shared_components.study.stages import run_stages
from shared_components.study.summary import study_status, study_summary
from tests.study.test_study import REPO, make_client

SMALL = {"encoder_channels": [4, 8], "style_channels": [4, 8], "decoder_channels": 4, "max_epochs": 1}


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generalisation")
    every = ("training", "validation", "test")
    data = folder / "data"
    make_client(data / "north", "t1", every, 0)
    make_client(data / "south", "t2", ("test",), 1)
    make_client(data / "east", "t2", (), 2)
    make_client(data / "d", "ct", every, 3)
    return {
        "name": "tiny study",
        "bundle": str(REPO / "bundles" / "factory"),
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"],
        "domains": ["t1", "t2"],
        "labels": {0: "background", 1: "brain"},
        "clients": {
            "north": {"data_root": str(data / "north"), "domain": "t1"},
            "south": {"data_root": [str(data / "south"), str(data / "east")], "domain": "t2"},
        },
        "rounds": 1,
        "updates_per_round": 1,
        "workers": 0,
        "overrides": {"spacing": 2.0},
        "aggregator": {"_target_": "shared_components.federation.FedProx", "mu": 0.1},
        "output_dir": str(folder / "out"),
        "study": {
            "choose": False,
            "jobs": 1,
            "baselines": False,
            "overrides": {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2},
            "pretrain": {"max_epochs": 1},
            "synthesize": {"volumes": 3, "slices": 4, "validation": 1},
            "train": {"phases": [1, 1, 1], "translator_channels": [4, 8, 8]},
            "self_training": {"phases": [0, 0, 1], "translator_channels": [4, 8, 8]},
            "generalisation": dict(SMALL),
            "unseen": {"D": str(data / "d")},
        },
    }


def made(values: dict, **study):
    changed = {**values, "study": {**values["study"], **study}}
    return federation_from(changed, source=Path("study.yaml"))


@pytest.fixture(scope="module")
def finished(values) -> Path:
    """The folder of a study that has run; the client ``south`` has two data roots."""
    federation = made(values)
    split_names(values)
    return run_study(federation, quiet=True).parent


def split_names(values: dict) -> None:
    """Subjects of a client's two data roots need names of their own."""
    root = Path(values["clients"]["south"]["data_root"][1])
    for file in list(root.glob("*/s*.nii.gz")):
        file.rename(file.with_name(file.name.replace("s", "e", 1)))
    file = root / "dataset.json"
    file.write_text(file.read_text().replace("/s", "/e"))


def read_json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def settings(place: Path) -> dict:
    return yaml.safe_load((place / "overrides.yaml").read_text())


def test_leaves_a_model_that_is_tried_on_every_test_volume(finished):
    study = read_json(finished / "study.json")
    assert study["generalisation"] == "generalisation/model.pt"
    model = load_tensors(finished / "generalisation" / "model.pt")
    assert model["description"]["domains"] == ["t1", "t2"]
    ours = "generalisation"
    tried = {e["client"]: e for e in study["scores"] if e["method"] == ours}
    assert set(tried) == {"north", "south", "D"}
    assert tried["D"]["csv"] == "unseen/D/generalisation_predictions/scores.csv"
    assert all((finished / entry["csv"]).is_file() for entry in tried.values())
    cases = read_json(finished / tried["south"]["predictions"] / "cases.json")["cases"]
    assert [case["case"] for case in cases] == ["s3"]  # that of the second data root has no label
    others = [e["method"] for e in study["scores"] if e["client"] == "D" and e["method"] != ours]
    assert others == ["source model"]
    assert study["unseen"]["D"]["role"] == "unseen" and set(study["clients"]) == {"north", "south"}


def test_training_reads_synthetic_volumes_alone(finished, values):
    found = settings(finished / "generalisation")
    source = finished / "clients" / "north" / "synthetic"
    assert found["dataset_dir"] == [str(source / "t1"), str(source / "t2")]
    assert found["domains"] == ["t1", "t2"] and found["image_size"] == 32 and found["batch_size"] == 4
    assert "segmenter_channels" not in found and "discriminator_channels" not in found
    data = str(Path(values["clients"]["north"]["data_root"]).parent)
    assert data not in (finished / "generalisation" / "overrides.yaml").read_text()
    splits = {split: len(datalist(source / "t2", split)) for split in ("training", "validation")}
    assert splits == {"training": 3, "validation": 1}


def test_the_unseen_root_is_only_ever_segmented(finished, values):
    root = values["study"]["unseen"]["D"]
    reading = {f.parent for f in finished.rglob("overrides.yaml") if root in f.read_text()}
    assert reading == set((finished / "unseen" / "D").glob("*_predictions")) and len(reading) == 3
    assert all(settings(place)["dataset_dir"] == root for place in reading)
    assert root not in (finished / "factory" / "bundle.yaml").read_text()


def test_segmentation_builds_the_network_that_was_trained(finished):
    found = settings(finished / "unseen" / "D" / "generalisation_predictions")
    assert found["encoder_channels"] == SMALL["encoder_channels"] and "max_epochs" not in found
    assert found["ckpt_path"] == str(finished / "generalisation" / "model.pt")


def test_report_summary_and_status_tell_of_it(finished):
    text = study_summary(finished)
    assert "generalisation/model.pt  (any scanner; synthetic volumes alone)" in text
    assert "D (unseen), generalisation: 1 volume, Dice" in text
    assert "all/generalisation" in text
    page = (finished / "report.html").read_text()
    assert "D, unseen" in page and "generalisation" in page
    (finished / "study.json").rename(finished / "kept.json")
    status = study_status(finished)
    (finished / "kept.json").rename(finished / "study.json")
    for stage in ("generalisation", "unseen/D/generalisation_predictions", "north/source_model"):
        assert f"\n  {stage}: done" in status


def test_resume_keeps_it_and_its_settings_decide(finished, values):
    times = {file: file.stat().st_mtime_ns for file in finished.rglob("done.json")}
    stages = {stage.key: stage for stage in study_stages(plan_study(made(values)))}
    assert run_stages(list(stages.values()), jobs=1, quiet=True).keys() == stages.keys()
    assert {file: file.stat().st_mtime_ns for file in times} == times and len(times) == len(stages)
    changed = study_stages(plan_study(made(values, generalisation={**SMALL, "max_epochs": 2})))
    digests = FileDigests()
    differing = {
        stage.key for stage in changed if stage.fingerprint(digests) != stages[stage.key].fingerprint(digests)
    }
    assert differing == {"all/generalisation"}


def test_without_it_nothing_of_it_is_planned(values):
    plain = {k: v for k, v in values["study"].items() if k not in ("generalisation", "unseen")}
    keys = {s.key for s in study_stages(plan_study(made({**values, "study": plain})))}
    assert not any("generalisation" in key or key.startswith("D/") for key in keys)


def test_it_needs_no_client_without_labels(values):
    clients = {"north": values["clients"]["north"]}
    keys = [stage.key for stage in study_stages(plan_study(made({**values, "clients": clients})))]
    assert "north/synthetic" in keys and "all/generalisation" in keys
    assert keys.index("all/generalisation") < keys.index("D/generalisation_predictions")


def test_baselines_are_tried_on_unseen_scanners_too(values):
    clients = {"north": values["clients"]["north"]}
    stages = study_stages(plan_study(made({**values, "clients": clients}, baselines=True)))
    found = {stage.name for stage in stages if stage.client == "D"}
    assert found == {f"{m}_predictions" for m in ("generalisation", "source_model", "source_only")}
    assert "north/source_only" in {stage.key for stage in stages}


def test_synthetic_domains_and_their_validation_follow_the_synthesis(values):
    study = plan_study(made(values, publish="model", synthesize={"twin_domains": [], "validation": 0}))
    assert synthetic_domains(study) == ["t1"]
    stage = next(s for s in study_stages(study) if s.name == "generalisation")
    assert stage.overrides["val_interval"] == 0 and stage.overrides["domains"] == ["t1"]
    assert synthetic_domains(plan_study(made(values))) == ["t1", "t2"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"generalisation": {"inner_rat": 1}}, r"generalisation: 'inner_rat' is no id .*'inner_rate'"),
        ({"generalisation": 3}, "'generalisation' must hold 'key: value' lines, found 3"),
        ({"generalisation": False}, "'unseen' is for a model of 'generalisation'"),
        ({"segmentation": "nowhere"}, "expected a bundle with .*nowhere/configs/common.yaml"),
    ],
)
def test_unusable_settings_are_told(values, section, message):
    with pytest.raises(InputError, match=message):
        study_stages(plan_study(made(values, **section)))


def test_clients_and_unseen_scanners_that_do_not_fit_are_told(values, tmp_path):
    seen = make_client(tmp_path / "seen", "t2", ("test",), 4)
    with pytest.raises(InputError, match="unseen 'D': domain 't2' is one of the federation's"):
        plan_study(made(values, unseen={"D": str(seen)}))
    file = make_client(tmp_path / "empty", "ct", (), 5) / "dataset.json"
    file.write_text(json.dumps(read_json(file) | {"test": []}))
    with pytest.raises(InputError, match=r"unseen 'D': expected test volumes in .*found none"):
        plan_study(made(values, unseen={"D": str(file.parent)}))
    make_client(tmp_path / "other", "t1", ("test",), 6)
    roots = [str(seen), str(tmp_path / "other")]
    two = {**values["clients"], "west": {"data_root": roots, "domain": ["t2", "t1"]}}
    with pytest.raises(InputError, match="client 'west': adaptation makes a model for one domain, found"):
        plan_study(made({**values, "clients": two}))
    norms = {"_target_": "shared_components.federation.FedBN"}
    with pytest.raises(InputError, match="the clients need one factory"):
        plan_study(made({**values, "aggregator": norms}))
    with pytest.raises(InputError, match="cannot be called 'all'"):
        plan_study(made({**values, "clients": {"all": values["clients"]["north"]}}))
