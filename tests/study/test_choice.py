"""Clients without labels choose among candidates: which there are, what a study makes of it, and what it tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.records import write_table
from shared_components.study.candidates import model_at_home
from shared_components.study.client_stages import study_stages
from shared_components.study.released import RELEASED
from shared_components.study.roles import plan_study
from shared_components.study.runner import run_study
from shared_components.study.settings import CANDIDATES, needed_variants
from tests.study.test_study import made
from tests.study.test_study import values as study_values

__all__ = ["study_values"]
FEW = {"candidates": ["source_only", "self_trained_near", "adaptation"], "choose": True}


def test_variants_that_candidates_are_made_of():
    assert needed_variants(("source_only",)) == ["source_only"]
    assert needed_variants(("adaptation",)) == ["source_model"]
    assert needed_variants(("self_trained_near",)) == ["source_only", "source_mild"]
    assert needed_variants(CANDIDATES) == ["source_only", "source_mild", "source_model"]


def test_stages_of_a_client_that_chooses(study_values):
    federation = made(study_values, choose=True, baselines=False, matrix=False, audit=False)
    stages = {stage.key: stage for stage in study_stages(plan_study(federation))}
    assert {key for key in stages if key.startswith("north/")} == {
        f"north/{name}"
        for name in (
            "source_only",
            "source_mild",
            "source_model",
            "source_only_predictions",
            "source_mild_predictions",
            "source_model_predictions",
            "shapes",
            "synthetic",
        )
    }
    assert {key for key in stages if key.startswith("south/")} == {
        f"south/{name}"
        for name in (
            "self_trained_near",
            "self_trained_all",
            "self_trained",
            "adaptation",
            "choice",
            "choice_predictions",
        )
    }
    choice = stages["south/choice"]
    assert list(choice.overrides["candidates"]) == list(CANDIDATES)
    assert set(choice.needs) == {
        *(f"north/{name}" for name in ("source_only", "source_mild", "source_model", "shapes")),
        *(
            f"south/{name}"
            for name in ("self_trained_near", "self_trained_all", "self_trained", "adaptation")
        ),
    }
    taught = stages["south/self_trained_near"].overrides
    assert [Path(path).parent.name for path in taught["teacher_paths"]] == ["source_only", "source_mild"]
    assert (taught["looks"], taught["pseudo_confidence"]) == ("mild", 0.7)
    assert stages["north/source_only"].overrides["looks"] == "none"
    assert all(
        name.rpartition("/")[2].endswith("_predictions") or name.rpartition("/")[2] in RELEASED
        for name in stages
    )


def test_a_labelled_client_uses_the_variant_that_its_validation_labels_score_best(study_values, tmp_path):
    study = plan_study(made({**study_values, "output_dir": str(tmp_path)}, choose=True))
    done = [f"north/{name}" for name in ("source_only", "source_mild", "source_model")]
    for name, dice in (("source_only", 0.7), ("source_mild", 0.8), ("source_model", 0.6)):
        rows = [{"epoch": 1, "validation_dice": 0.9}, {"epoch": 2, "validation_dice": dice}, {"epoch": 3}]
        write_table(study.place("north", name) / "metrics.csv", ("epoch", "validation_dice"), rows)
    assert model_at_home(study, "north", done) == "source_mild"
    assert model_at_home(study, "north", ["north/source_model"]) == "source_model"
    write_table(
        study.place("north", "source_only") / "metrics.csv", ("epoch", "validation_dice"), [{"epoch": 1}]
    )
    assert model_at_home(study, "north", done) == "source_mild"
    assert model_at_home(study, "north", []) == "source_model"


def test_without_the_adaptation_nothing_synthetic_is_drawn(study_values):
    federation = made(study_values, choose=True, candidates=["source_only", "source_mild"], baselines=False)
    keys = {stage.key for stage in study_stages(plan_study(federation))}
    assert not any(key.endswith(("/synthetic", "/adaptation")) for key in keys)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"candidates": "adaptation"}, "'candidates' must list some of source_only, "),
        ({"candidates": ["adaption"]}, r"candidates: 'adaption' is unknown \(did you mean 'adaptation'\?\)"),
        ({"candidates": ["adaptation", "adaptation"]}, "'candidates' must be no two alike"),
        ({"candidates": ["adaptation"], "choose": False}, "'candidates' are for a choice"),
        ({"choose": "yes"}, "'choose' must be true or false"),
        ({"sources": ["south"]}, "sources: expected some of the clients with labels, north, found 'south'"),
        ({"sources": "north"}, "'sources' must list clients, found 'north'"),
    ],
)
def test_what_cannot_be_chosen_is_named(study_values, section, words):
    with pytest.raises(InputError, match=words):
        plan_study(made(study_values, **{"choose": True, **section}))


def test_a_study_tells_what_was_chosen_and_why(study_values, tmp_path):
    small = {"baselines": False, "matrix": False, "audit": False}
    federation = made({**study_values, "output_dir": str(tmp_path / "out")}, **FEW, **small)
    folder = run_study(federation, quiet=True).parent
    study = json.loads((folder / "study.json").read_text())
    assert set(study["choices"]) == {"south", "island"}
    record = json.loads((folder / study["choices"]["south"]["record"]).read_text())
    assert list(record["candidates"]) == FEW["candidates"]
    assert set(record["chosen"]) <= set(FEW["candidates"])
    assert study["models"]["south"] == "clients/south/choice/model.pt"
    page = (folder / "report.html").read_text()
    assert "Which model each client uses, and why" in page
    assert "lie on the clearest edges" in page
    assert "“source_only”" not in page  # its method's name stands for it
    records = [json.loads((folder / entry["record"]).read_text()) for entry in study["choices"].values()]
    assert page.count('class="missing"') == sum(one["doubtful"] for one in records)
