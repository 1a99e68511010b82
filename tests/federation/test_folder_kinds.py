from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.folder_kinds import refuse_run
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed
from shared_components.files import make_folder
from tests.federation.tiny import federation, write_file


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")


@pytest.mark.parametrize("mark", ["study.json", "factory/federation.yaml"])
@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}])
def test_a_run_is_kept_out_of_a_study_even_after_one_has_been_killed_there(values, mark, how):
    made = federation(values)
    folder = Path(made.output_dir)
    write(folder / mark, folder / "federation.yaml", folder / "clients/south/adaptation/model.pt")
    before = contents(folder)
    with pytest.raises(InputError, match=r"run: expected the folder of a run, found a study; .*--resume, or"):
        RunFolder(folder).open(made, **how)
    assert contents(folder) == before


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}])
def test_a_federation_file_of_somebodys_own_is_not_replaced(values, how):
    made = federation(values)
    folder = RunFolder(made.output_dir)
    own = write_file(make_folder(folder.root) / "federation.yaml", values)
    before = own.read_bytes()
    with pytest.raises(InputError, match=r"federation\.yaml: expected no file, .*; move it, or name another"):
        folder.open(made, **how)
    assert own.read_bytes() == before
    own.unlink()
    for again in ({}, how):
        folder.open(made, **again)


def test_of_the_clients_folders_a_run_clears_what_runs_write(values):
    made = federation(values)
    folder = RunFolder(made.output_dir)
    folder.open(made)
    folder.commit(Committed(1, {"w": torch.zeros(1)}, dict.fromkeys(made.clients, 1)))
    own = [
        *("state.1.pt", "update.pt", "tiny_bundle.pt", "error.txt", "check.txt", "spent.json", "spent.lock"),
        *("privacy.json", "sent.csv", "site_report.md", "metrics.csv", "tensorboard/events"),
    ]
    others = [folder.client("south") / name for name in ("adaptation/model.pt", "notes.txt")]
    write(*others, *(folder.client(name) / file for name in ("north", "south") for file in own))
    folder.open(made, force=True)
    left = [file for file in (folder.root / "clients").rglob("*") if file.is_file()]
    assert sorted(left) == sorted([*others, *(folder.client(n) / "spent.json" for n in ("north", "south"))])


def test_a_study_is_kept_out_of_a_run_but_goes_on_beside_one(tmp_path):
    refuse_run(tmp_path)
    (tmp_path / "global.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected the folder of a study, found a run; .*run FILE --resume"):
        refuse_run(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({}))
    refuse_run(tmp_path)
