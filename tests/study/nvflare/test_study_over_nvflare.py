"""A whole study over NVFlare's simulator against the same on the local engine, and what has left each site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from shared_components.files import load_tensors
from shared_components.metrics import read_scores
from shared_components.study.runner import run_study
from shared_components.study.summary import study_summary
from tests.study.test_study import made
from tests.study.test_study import values as study_values

pytest.importorskip("nvflare")
__all__ = ["study_values"]


@pytest.fixture(scope="module")
def values(study_values) -> dict:
    """Without the noise, which is another one in each run, and with a choice of each client without labels."""
    study = {**study_values["study"], "choose": True, "candidates": ["source_only", "adaptation"]}
    return {key: value for key, value in study_values.items() if key != "privacy"} | {"study": study}


@pytest.fixture(scope="module")
def local(values) -> Path:
    return run_study(
        made({**values, "output_dir": str(Path(values["output_dir"]) / "local")}), quiet=True
    ).parent


@pytest.fixture(scope="module")
def over_nvflare(values) -> dict:
    return {**values, "engine": "nvflare", "output_dir": str(Path(values["output_dir"]) / "nvflare")}


@pytest.fixture(scope="module")
def spread(over_nvflare) -> Path:
    return run_study(made(over_nvflare), quiet=False).parent


def assert_equal(first: Path, second: Path) -> None:
    expected, found = load_tensors(first), load_tensors(second)

    def compare(one, other):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
        elif isinstance(one, dict):
            assert one.keys() == other.keys()
            for key in one:
                compare(one[key], other[key])
        elif isinstance(one, list | tuple):
            for part, another in zip(one, other, strict=True):
                compare(part, another)
        else:
            assert one == other

    compare(expected, found)


def test_models_and_scores_are_those_of_the_local_engine(local, spread):
    assert_equal(local / "factory" / "factory.pt", spread / "factory" / "factory.pt")
    models = {str(path.relative_to(local)) for path in local.glob("clients/*/*/model.pt")}
    assert {"clients/south/choice/model.pt", "clients/north/source_model/model.pt"} < models
    for name in models:
        assert_equal(local / name, spread / "sites" / Path(name).parts[1] / name)
    tables = {str(path.relative_to(local)) for path in local.glob("clients/*/*/scores.csv")}
    away = {name for name in tables if "choice_of_" in name}  # at a site that does not get the model
    tables -= away
    assert len(tables) == 7 and away == {
        f"clients/{site}/choice_of_{owner}_predictions/scores.csv"
        for site, owner in (("north", "south"), ("north", "island"), ("south", "island"))
    }
    assert not any(list(spread.glob(f"**/{name}")) for name in away)
    for name in tables:
        assert (spread / "sites" / Path(name).parts[1] / name).read_bytes() == (local / name).read_bytes()
        rows = [{**row, "case": "volume 1"} for row in read_scores(local / name)]
        assert read_scores(spread / name) == rows


def test_only_models_synthetic_volumes_and_tables_have_left_a_site(spread):
    left = {path.relative_to(spread / "clients").as_posix() for path in (spread / "clients").rglob("*.*")}
    left -= {f"{client}/pictures/generated.png" for client in ("north", "south", "island")}
    synthetic = {name for name in left if name.startswith("north/synthetic/")}
    assert len(synthetic) == 3 * (1 + 2 + 2)  # a data root for each domain: dataset.json, 2 images, 2 labels
    assert left - synthetic == {
        "north/source_model/model.pt",
        "north/source_model/metrics.csv",
        "north/source_model_predictions/scores.csv",
        "north/source_only/model.pt",
        "north/source_only/metrics.csv",
        "north/source_only_predictions/scores.csv",
        "north/shapes/shapes.json",
        "south/choice/choice.json",
        "south/choice/choice.csv",
        "island/choice/choice.json",
        "island/choice/choice.csv",
        "south/adaptation/metrics.csv",
        "south/self_trained/metrics.csv",
        *(
            f"south/{model}_predictions/scores.csv"
            for model in ("source_model", "source_only", "self_trained", "adaptation", "choice")
        ),
        "island/adaptation/metrics.csv",
        *(f"{client}/audit/audit.csv" for client in ("north", "south", "island")),
    }
    assert not (spread / "exchange").exists() and not (spread / "nvflare").exists()


def test_no_site_has_anything_of_another_but_what_it_was_sent(spread):
    for site, others in {"south": {"island"}, "island": {"south"}, "north": {"south", "island"}}.items():
        found = {path.name for path in (spread / "sites" / site / "clients").iterdir()}
        assert not found & others
    received = {path.name for path in (spread / "sites" / "island" / "clients" / "north").rglob("*.*")}
    assert "scores.csv" not in received and "done.json" not in received and "model.pt" in received


def test_report_names_what_came_from_where(spread, values):
    study = json.loads((spread / "study.json").read_text())
    sent = {(entry["origin"], entry["target"], entry["what"]): entry["size"] for entry in study["exchange"]}
    assert sent["north", "the server", "source_model: metrics.csv, model.pt"] > 20_000
    assert sent["the server", "south", "north: synthetic"] == sent["the server", "island", "north: synthetic"]
    assert sent["south", "the server", "adaptation: metrics.csv"] < 2000
    page = (spread / "report.html").read_text()
    assert "What came from where" in page and "What was sent" in page
    records = [json.loads((spread / entry["record"]).read_text()) for entry in study["choices"].values()]
    assert page.count('class="missing"') == sum(record["doubtful"] for record in records)
    assert len(records) == 2
    assert "island, chosen: its test volumes have no labels" in page
    for entry in values["clients"].values():
        assert entry["data_root"] not in page + json.dumps(study)
    assert set(study["models"]) == {"north"}
    text = study_summary(spread)
    assert sent["south", "the server", "audit: audit.csv"] < 4000
    assert "What the factory gives away" in page and "south, t2: No sign of copies" in text
    assert "south, adaptation: at its site, in clients/south/adaptation_predictions, Dice" in text


@pytest.mark.thorough
def test_a_second_run_keeps_what_is_done_at_the_sites(spread, over_nvflare):
    times = {file: file.stat().st_mtime_ns for file in spread.glob("sites/*/clients/*/*/done.json")}
    assert len(times) == 20
    run_study(made(over_nvflare), resume=True, quiet=True)
    assert {file: file.stat().st_mtime_ns for file in times} == times
