from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.benchmarks.cardiac_places import DOMAINS, Place
from shared_components.benchmarks.cardiac_stages import cardiac_stages
from shared_components.study.client_stages import study_stages
from shared_components.study.generalisation import MODEL
from shared_components.study.study import EVERYBODY, plan_study
from tests.federation.tiny import make_root


@pytest.fixture
def folder(tmp_path) -> Path:
    for domain in DOMAINS:
        make_root(tmp_path / "data0" / domain, domain, images=2, seed=0)
    return tmp_path


@pytest.mark.parametrize("smoke", [False, True])
def test_held_out_domain_takes_no_part_and_the_model_is_scored_where_it_lies(folder, smoke):
    place = Place(folder, 0, "A", "synthetic")
    training, evaluation = cardiac_stages(place, smoke)
    study = plan_study(training.federation())
    stages = study_stages(study)
    assert set(study.roots) == {"B", "C", "D"} and study.source == "B" and not study.targets
    assert str(place.data / "A") not in training.reads and len(training.reads) == 2 + 3
    model = study.place(EVERYBODY, MODEL) / "model.pt"
    assert evaluation.overrides["ckpt_path"] == str(model)
    assert (study.agreed["image_size"], study.agreed["spacing"]) == ((32, 6.0) if smoke else (48, 3.7))
    assert model.parent in [stage.folder for stage in stages]
