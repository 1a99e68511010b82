from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared_components.federation.file_digests import FileDigests
from shared_components.report import write_study_report
from shared_components.study import runner
from shared_components.study.data_watch import DataWatch
from shared_components.study.summary import study_summary
from tests.federation.tiny import federation
from tests.study.test_study import made
from tests.study.test_study import values as study_values
from tests.study_records import write_study

__all__ = ["study_values"]
IMAGE = "client south: images/s1.nii.gz of training is another file"


@pytest.fixture
def clients(values, tmp_path):
    root = shutil.copytree(values["clients"]["south"]["data_root"], tmp_path / "south")
    values["clients"]["south"]["data_root"] = str(root)
    return federation(values).clients


def test_images_and_labels_that_are_replaced_are_told(clients, tmp_path, capsys):
    watch = DataWatch(clients, FileDigests())
    assert watch.told() == {} and capsys.readouterr().err == ""
    for kind in ("images", "labels"):
        shutil.copy(tmp_path / "south" / kind / "s0.nii.gz", tmp_path / "south" / kind / "s1.nii.gz")
    label = "client south: the label of images/s1.nii.gz of training is another one"
    assert watch.told() == {"changed": f"{IMAGE}; {label}"}
    assert (
        f"warning: the clients' data changed while the study ran: {IMAGE}; {label}; "
        in capsys.readouterr().err
    )


def test_a_list_that_cannot_be_read_any_more_is_told(clients, tmp_path):
    watch = DataWatch(clients, FileDigests())
    (tmp_path / "south" / "dataset.json").write_text("{")
    assert "dataset.json: " in watch.changes()
    shutil.rmtree(tmp_path / "south")
    assert watch.changes() == f"client south: the data root {tmp_path / 'south'} is gone"


def test_a_study_compares_its_data_at_the_end(study_values, tmp_path, monkeypatch, capsys):
    root = Path(shutil.copytree(study_values["clients"]["south"]["data_root"], tmp_path / "south"))
    clients = {**study_values["clients"], "south": {"data_root": str(root), "domain": "t2"}}
    kept = {}

    def trained(*_):
        shutil.copy(root / "images" / "s0.nii.gz", root / "images" / "s1.nii.gz")
        return {}

    monkeypatch.setattr(runner, "_all_trained", trained)
    monkeypatch.setattr(runner, "tell_study", lambda *given: kept.update(given[-1]))
    runner.run_study(
        made({**study_values, "clients": clients, "output_dir": str(tmp_path / "out")}), quiet=True
    )
    assert kept == {"changed": IMAGE} and IMAGE in capsys.readouterr().err


def test_report_and_summary_tell_of_it(tmp_path):
    write_study(tmp_path, changed=IMAGE)
    page = write_study_report(tmp_path).read_text(encoding="utf-8")
    assert "Data changed while the study ran" in page and IMAGE in page
    assert f"  changed  {IMAGE}; data were replaced" in study_summary(tmp_path)
