"""The ready federation file for a scanner that nobody has seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from monai.bundle import ConfigParser

from shared_components.data.phantoms.cardiac import SCANNERS
from shared_components.data.phantoms.cardiac_anatomy import LABELS
from shared_components.federation.federation_file import read_federation
from shared_components.study.client_stages import study_stages
from shared_components.study.roles import plan_study
from tests.study.test_study import make_client

REPO = Path(__file__).parents[2]
FILE = REPO / "scripts" / "unseen_scanner.yaml"


def test_unseen_scanner_can_run(tmp_path, monkeypatch):
    content = yaml.safe_load(FILE.read_text())
    assert content["labels"] == LABELS
    assert [*content["domains"], *content["study"]["unseen"]] == list(SCANNERS)
    (tmp_path / "bundles").symlink_to(REPO / "bundles")
    for name in SCANNERS:
        splits = ("training", "validation", "test") if name == "A" else ("test",)
        make_client(tmp_path / "outputs" / "unseen-scanner" / "data" / name, name, splits, 0)
    file = shutil.copy(FILE, tmp_path / "federation.yaml")
    monkeypatch.chdir(tmp_path)
    study = plan_study(read_federation(file))
    assert (study.source, study.targets) == ("A", ("B", "C"))
    stages = {stage.key: stage for stage in study_stages(study)}
    training = stages["all/generalisation"].overrides
    assert training["domains"] == ["A", "B", "C"] and len(training["dataset_dir"]) == 3
    tried = {key for key in stages if key.endswith("/generalisation_predictions")}
    assert tried == {f"{name}/generalisation_predictions" for name in SCANNERS}


def test_slices_are_those_of_the_segmentation_bundle():
    """So that its rows beside other trainings of the bundle differ in nothing but the data."""
    bundle = ConfigParser()
    bundle.read_config(REPO / "bundles" / "segmentation" / "configs" / "common.yaml")
    overrides = yaml.safe_load(FILE.read_text())["overrides"]
    assert [overrides[key] for key in ("image_size", "spacing", "orientation")] == [
        bundle[key] for key in ("image_size", "spacing", "orientation")
    ]
