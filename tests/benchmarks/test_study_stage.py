from __future__ import annotations

from pathlib import Path

from shared_components.benchmarks.study_stage import StudyStage, study_stage
from shared_components.federation.file_digests import FileDigests
from shared_components.study.stage import LOG
from shared_components.study.stages import done_stages, run_stages
from tests.study.test_study import make_client


def made(folder: Path) -> StudyStage:
    """The smallest study: one client, which has all labels."""
    root = folder / "data"
    if not root.is_dir():
        make_client(root, "t1", ("training", "validation", "test"), 0)
    values = {
        "name": "alone",
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"],
        "domains": ["t1"],
        "labels": {0: "background", 1: "brain"},
        "clients": {"north": {"data_root": str(root), "domain": "t1"}},
        "rounds": 1,
        "updates_per_round": 1,
        "workers": 0,
        "overrides": {"spacing": 2.0},
        "study": {
            "jobs": 1,
            "overrides": {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2},
            "pretrain": {"max_epochs": 1},
        },
    }
    return study_stage("seed0", values, folder / "seed0")


def test_study_runs_as_a_stage_and_goes_on_from_what_an_interruption_has_left(tmp_path):
    stage = made(tmp_path)
    fingerprint = stage.fingerprint(FileDigests())
    stage.prepare(fingerprint)
    left = stage.folder / "left.txt"
    left.write_text("by an interrupted run")
    seconds = run_stages([stage], jobs=1, quiet=True, fresh=True)
    assert left.is_file() and seconds["seed0/study"] > 0
    model = stage.folder / "clients" / "north" / "source_model" / "model.pt"
    assert model.is_file() and (stage.folder / "study.json").is_file()
    assert stage.progress() == "pictures and report"
    assert done_stages([stage]) == seconds
    left.unlink()
    (stage.folder / LOG).unlink()
    assert done_stages([stage]) == seconds
    model.write_bytes(b"damaged")
    assert done_stages([stage]) == {}
    stage.prepare("another study")
    assert not model.exists()


def test_fingerprint_follows_data_and_settings(tmp_path):
    stage = made(tmp_path)
    before = stage.fingerprint(FileDigests())
    assert made(tmp_path).fingerprint(FileDigests()) == before
    (tmp_path / "data" / "more.txt").write_text("")
    assert made(tmp_path).fingerprint(FileDigests()) != before
    assert "bundles/segmentation/configs" in " ".join(stage.reads)
