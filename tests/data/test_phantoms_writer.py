"""Client roots on disk: same bytes, kept or refused folders, all labels on request."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shared_components.data.phantoms.cases import Case, Phantom, PhantomRoot
from shared_components.data.phantoms.vessels import make_vessels
from shared_components.data.phantoms.writer import RECORD, Scenario, write_scenario
from shared_components.errors import InputError


def _render(case: Case) -> Phantom:
    image = case.generator().integers(0, 100, (4, 5, 3)).astype(np.int16)
    return Phantom(image, (image > 50).astype(np.uint8), np.diag([1.0, 2.0, 3.0, 1.0]))


def _scenario(seed: int = 0, label_all: bool = False) -> Scenario:
    clients = [
        PhantomRoot("a", "MRI", (2, 1, 1), ("training", "validation", "test")),
        PhantomRoot("b", "CT", (2, 0, 1), ("test",)),
    ]
    cases = {client.domain: client.cases("toy", seed, 1.0) for client in clients}
    return Scenario("toy", {0: "background", 1: "thing"}, _render, clients, seed, 1.0, cases, label_all)


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_same_seed_same_bytes_for_any_number_of_workers(tmp_path):
    subjects = {"mra": (1, 0, 0), "venography": (0, 0, 0), "octa": (1, 0, 1)}
    for name, workers in (("one", 1), ("two", 2)):
        make_vessels(tmp_path / name, seed=3, subjects=subjects, workers=workers, coarseness=4)
    make_vessels(tmp_path / "other", seed=4, subjects=subjects, workers=1, coarseness=4)
    one, two, other = (_bytes(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] == other[name]} == {"mra/dataset.json", "octa/dataset.json"}


def test_a_subject_does_not_depend_on_how_many_there_are():
    few, more = (PhantomRoot("a", "MRI", (count, 1, count), ("test",)) for count in (2, 5))
    few_names = {case.name: case for case in few.cases("toy", 0, 1.0)}
    more_names = {case.name: case for case in more.cases("toy", 0, 1.0)}
    for name, case in few_names.items():
        assert np.array_equal(_render(case).image, _render(more_names[name]).image)
        assert (case.codes, case.oblique) == (more_names[name].codes, more_names[name].oblique)


def test_compressed_files_carry_neither_date_nor_name(tmp_path):
    write_scenario(tmp_path, _scenario(), workers=1)
    header = (tmp_path / "a/images/a_training_001.nii.gz").read_bytes()[:10]
    assert header[3] == 0  # no flags: no file name
    assert header[4:8] == bytes(4)  # no date


def test_the_same_parameters_keep_the_folder(tmp_path, capsys):
    write_scenario(tmp_path, _scenario(), workers=1)
    image = tmp_path / "a/images/a_training_001.nii.gz"
    before = image.stat().st_mtime_ns
    roots = write_scenario(tmp_path, _scenario(), workers=1)
    assert "kept" in capsys.readouterr().out
    assert image.stat().st_mtime_ns == before
    assert roots == [tmp_path / "a", tmp_path / "b"]


def test_a_folder_cut_short_is_made_again(tmp_path):
    write_scenario(tmp_path / "whole", _scenario(), workers=1)
    write_scenario(tmp_path / "cut", _scenario(), workers=1)
    record = json.loads((tmp_path / "cut" / RECORD).read_text()) | {"complete": False}
    (tmp_path / "cut" / RECORD).write_text(json.dumps(record))
    (tmp_path / "cut/a/images/a_test_001.nii.gz").unlink()
    write_scenario(tmp_path / "cut", _scenario(), workers=1)
    assert _bytes(tmp_path / "cut") == _bytes(tmp_path / "whole")


def test_other_parameters_need_force_and_leave_nothing_behind(tmp_path):
    write_scenario(tmp_path / "out", _scenario(label_all=True), workers=1)
    with pytest.raises(InputError, match="found phantoms of other parameters; name another or add --force"):
        write_scenario(tmp_path / "out", _scenario(seed=1), workers=1)
    (tmp_path / "out/notes.txt").write_text("mine")
    write_scenario(tmp_path / "out", _scenario(seed=1), workers=1, force=True)
    write_scenario(tmp_path / "fresh", _scenario(seed=1), workers=1)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "fresh") | {"notes.txt": b"mine"}


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="found other files"):
        write_scenario(tmp_path, _scenario(), workers=1)
    with pytest.raises(InputError, match="expected a folder to write into, found a file"):
        write_scenario(tmp_path / "notes.txt", _scenario(), workers=1)


def test_label_all_writes_a_labelled_copy_of_clients_that_withhold_labels(tmp_path):
    roots = write_scenario(tmp_path, _scenario(label_all=True), workers=1)
    assert [root.name for root in roots] == ["a", "b", "b_labelled"]
    content = json.loads((tmp_path / "b_labelled/dataset.json").read_text())
    assert (content["name"], content["domain"]) == ("b_labelled", "b")
    assert all("label" in item for item in content["training"] + content["test"])
    for item in content["training"]:
        assert (tmp_path / "b_labelled" / item["label"]).is_file()
        assert not (tmp_path / "b" / item["label"]).exists()
        assert (tmp_path / "b" / item["image"]).read_bytes() == (
            tmp_path / "b_labelled" / item["image"]
        ).read_bytes()


def test_an_error_of_a_renderer_leaves_the_folder_marked_unfinished(tmp_path):
    def broken(case: Case) -> Phantom:
        raise RuntimeError(case.name)

    scenario = _scenario()
    failing = Scenario(**{**vars(scenario), "render": broken})
    with pytest.raises(RuntimeError, match="a_training_001"):
        write_scenario(tmp_path, failing, workers=1)
    assert json.loads((tmp_path / RECORD).read_text())["complete"] is False
    write_scenario(tmp_path, scenario, workers=1)
    assert (tmp_path / "b/dataset.json").is_file()
