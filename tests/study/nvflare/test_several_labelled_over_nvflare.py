"""Several labelled clients, and an unseen scanner, over NVFlare's simulator against the same on the local engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared_components.metrics import read_scores
from shared_components.study.runner import run_study
from shared_components.study.summary import study_summary
from tests.study.nvflare.test_study_over_nvflare import assert_equal
from tests.study.test_generalisation import SMALL
from tests.study.test_several_labelled import made
from tests.study.test_several_labelled import values as several_values
from tests.study.test_study import make_client

pytest.importorskip("nvflare")
pytestmark = pytest.mark.thorough
__all__ = ["several_values"]
FEDBN = {"_target_": "shared_components.federation.FedBN"}
ENGINES = ("local", "nvflare")
TRIED = ("source_model", "federated_source", "generalisation")  # at every site


@pytest.fixture(scope="module")
def values(several_values, tmp_path_factory) -> dict:
    """Without the model of all labelled images in one place, which no federation of sites has."""
    study = {key: value for key, value in several_values["study"].items() if key != "joint"}
    unseen = make_client(tmp_path_factory.mktemp("unseen") / "D", "ct", ("test",), 3)
    study |= {"generalisation": dict(SMALL), "unseen": {"D": str(unseen)}}
    return {**several_values, "study": study}


def run(values: dict, engine: str, resume: bool = False) -> Path:
    changed = {**values, "engine": engine, "output_dir": str(Path(values["output_dir"]) / engine)}
    return run_study(made(changed), resume=resume, quiet=True).parent


@pytest.fixture(scope="module")
def finished(values) -> tuple[Path, Path]:
    """The folders of a study that has run on the local engine and over NVFlare."""
    local, spread = (run(values, engine) for engine in ENGINES)
    return local, spread


def at_site(spread: Path, file: Path) -> Path:
    """Where the site has what the local engine writes as ``clients/<site>/…``."""
    return spread / "sites" / file.parts[1] / file


def test_joint_model_and_what_follows_from_it_are_those_of_the_local_engine(finished):
    local, spread = finished
    for name in ("factory/factory.pt", "source_model/global.pt", "source_model/adaptation.pt"):
        assert_equal(local / name, spread / name)
    for site in ("north", "west"):
        name = f"source_model/clients/{site}/state.2.pt"
        assert_equal(local / name, spread / "sites" / site / name)
    models = [file.relative_to(local) for file in local.glob("clients/*/*/model.pt")]
    assert len(models) == 3
    for name in models:
        assert_equal(local / name, at_site(spread, name))
    assert_equal(local / "generalisation" / "model.pt", spread / "generalisation" / "model.pt")
    drawn = [file.relative_to(local) for file in local.glob("clients/*/synthetic/*/*/*.nii.gz")]
    assert {name.parts[1] for name in drawn} == {"north", "south"}
    for name in drawn:
        assert at_site(spread, name).read_bytes() == (local / name).read_bytes()


def test_labels_and_volumes_of_no_client_have_left_it(finished):
    _, spread = finished
    assert not list(spread.glob("clients/south/**/*.nii.gz"))  # drawn at the client that uses them
    for site in ("north", "south", "west"):
        found = {path.name for path in (spread / "sites" / site / "source_model").glob("clients/*")}
        assert found == ({site} if site != "south" else set())


def test_every_model_that_is_handed_out_meets_every_labelled_client(finished):
    local, spread = finished
    rows, others = (json.loads((f / "study.json").read_text())["matrix"]["models"] for f in finished)
    assert [row["model"] for row in rows] == [row["model"] for row in others]
    for row, other in zip(rows, others, strict=True):
        stays = row["model"] == "adaptation of south"
        assert set(other["scores"]) == ({"south"} if stays else set(row["scores"]))
        for site, name in other["scores"].items():
            numbered = [{**one, "case": "volume 1"} for one in read_scores(local / row["scores"][site])]
            assert read_scores(spread / name) == numbered


def test_models_are_tried_on_an_unseen_scanner_where_its_images_are(finished, values):
    local, spread = finished
    tables = [file.relative_to(local) for file in local.glob("unseen/D/*_predictions/scores.csv")]
    assert {name.parts[2] for name in tables} >= {f"{model}_predictions" for model in TRIED}
    for name in tables:
        if (spread / name).is_file():  # the adapted model stays with its client
            site = spread / "sites" / "D" / name
            assert site.read_bytes() == (local / name).read_bytes()
    left = {file.relative_to(spread / "unseen").as_posix() for file in (spread / "unseen").rglob("*.*")}
    assert left == {f"D/{model}_predictions/scores.csv" for model in (*TRIED, "source_model_of_west")}
    study = json.loads((spread / "study.json").read_text())
    record = spread / "sites" / "D" / "factory" / "clients" / "D" / "sent.csv"
    assert "generalisation_predictions" in record.read_text()
    assert study["unseen"]["D"]["at"] == "D" and study["matrix"]["sites"] == ["north", "south", "west", "D"]
    assert values["study"]["unseen"]["D"] not in json.dumps(study) + (spread / "report.html").read_text()
    assert {entry["what"] for entry in study["exchange"] if entry["target"] == "D"} == {
        "the federated source model",
        "north: source_model",
        "west: source_model",
        "all: generalisation",
    }


def test_report_tells_whose_labels_made_what_and_who_got_it(finished):
    _, spread = finished
    page, study = (spread / "report.html").read_text(), json.loads((spread / "study.json").read_text())
    assert "Federated source model: images and labels of north (2 labelled volumes) and west (2)" in page
    assert "labelled by the federated source model at south" in page
    assert "uses those of its own client: south (1 labelled volume)" in page
    assert 'class="missing"' not in page
    sent = {(entry["origin"], entry["target"], entry["what"]) for entry in study["exchange"]}
    assert {("the server", "south", what) for what in ("the factory", "the federated source model")} <= sent
    text = study_summary(spread)
    assert "source_model/adaptation.pt  (trained together by north and west)" in text
    assert "federated_source_predictions/overrides.yaml" not in text  # it lies at the sites


def test_a_second_run_keeps_what_is_done(finished, values):
    _, spread = finished
    kept = [spread / "source_model" / "global.pt", *spread.glob("sites/*/clients/*/*/done.json")]
    times = {file: file.stat().st_mtime_ns for file in kept}
    assert len(times) > 10
    run(values, "nvflare", resume=True)
    assert {file: file.stat().st_mtime_ns for file in times} == times


def test_where_norms_are_private_each_labelled_site_uses_its_own_and_the_source_hands_out_its(
    values, tmp_path
):
    section = {
        **{key: value for key, value in values["study"].items() if key != "generalisation"},
        "federated_source": {"rounds": 1, "updates_per_round": 1, "aggregator": FEDBN},
        "matrix": False,
        "unseen": {},
        "overrides": {**values["study"]["overrides"], "network_def::norm": ["instance", {"affine": True}]},
    }
    clients = {name: values["clients"][name] for name in ("north", "west")}
    two = {**values, "clients": clients, "study": section, "output_dir": str(tmp_path)}
    local, spread = (run(two, engine) for engine in ENGINES)
    own = {site: f"source_model/clients/{site}/adaptation.pt" for site in clients}
    for site, name in own.items():
        assert_equal(local / name, spread / "sites" / site / name)
        scores = f"clients/{site}/federated_source_predictions/scores.csv"
        assert (spread / "sites" / site / scores).read_bytes() == (local / scores).read_bytes()
    assert_equal(local / own["north"], spread / own["north"])
    assert not (spread / own["west"]).exists()
    (handed,) = (
        e for e in json.loads((spread / "study.json").read_text())["exchange"] if "norms" in e["what"]
    )
    assert (handed["origin"], handed["target"]) == ("north", "the server")
