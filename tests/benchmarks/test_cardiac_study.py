from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared_components.benchmarks.cardiac_jobs import cardiac_job
from shared_components.benchmarks.cardiac_places import DOMAINS, Place
from shared_components.benchmarks.cardiac_study import FILE
from shared_components.data.phantoms.writer import RECORD
from shared_components.federation.federation_file import read_federation
from shared_components.study.client_stages import study_stages
from shared_components.study.generalisation import MODEL
from shared_components.study.study import EVERYBODY, plan_study
from tests.federation.tiny import make_root


@pytest.fixture
def folder(tmp_path) -> Path:
    for domain in DOMAINS:
        make_root(tmp_path / "data0" / domain, domain, images=2, seed=0)
    (tmp_path / "data0" / RECORD).write_text("{}")
    return tmp_path


@pytest.mark.parametrize("smoke", [False, True])
def test_held_out_domain_takes_no_part_and_the_model_is_scored_where_it_lies(folder, smoke):
    place = Place(folder, 0, "A", "synthetic")
    training, evaluation = cardiac_job(place, smoke).steps
    training.prepare()
    study = plan_study(read_federation(str(training.folder / FILE)))
    stages = study_stages(study)
    assert set(study.roots) == {"B", "C", "D"} and study.source == "B" and not study.targets
    assert str(place.data / "A") not in dict(training.files)[FILE]
    model = study.place(EVERYBODY, MODEL) / "model.pt"
    assert yaml.safe_load(evaluation.files[0][1])["ckpt_path"] == str(model)
    assert (study.agreed["image_size"], study.agreed["spacing"]) == ((32, 6.0) if smoke else (48, 3.7))
    assert model.parent in [stage.folder for stage in stages]


def test_study_goes_on_where_it_was(folder):
    training, _ = cardiac_job(Place(folder, 0, "A", "synthetic")).steps
    assert training.resumes and "--resume" in training.command
