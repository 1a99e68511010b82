"""Server and clients as separate processes with certificates, through the command line."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from scripts.federate import COMMANDS
from shared_components.errors import InputError
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.local import LocalEngine
from shared_components.files import load_tensors
from tests.federation.nvflare.processes import federate, killed_at, left_running
from tests.federation.nvflare.test_simulator import assert_same_run
from tests.federation.tiny import TINY_BUNDLE, federation, file_values, write_file
from tests.scripts.commands import told

pytest.importorskip("nvflare")

from shared_components.federation.nvflare.job import JobKind
from shared_components.federation.nvflare.job_file import JobParts
from shared_components.federation.nvflare.poc import ProofOfConcept

LARGE = 5_000_000  # bytes, of a job: more than a site takes at once where the kits say http


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_rehearsal_killed_and_resumed_or_not_equals_the_unbroken_local_run(roots, tmp_path, killed):
    rounds = 5 if killed else 3
    bundle = shutil.copytree(TINY_BUNDLE, tmp_path / "tiny_bundle")
    (bundle / "large.bin").write_bytes(os.urandom(LARGE))
    values = file_values(roots, tmp_path / "poc") | {
        "rounds": rounds,
        "clients_per_round": 2,
        "bundle": str(bundle),
    }
    file = write_file(tmp_path / "f.yaml", values)
    before, more = 0, ()
    if killed:
        lines = killed_at(federate("poc", file), "round 2/5")
        told = [line.split(" | ")[0] for line in lines if line.startswith("round")]
        assert told[:2] == ["round 1/5", "round 2/5"] and left_running(tmp_path / "poc") == []
        (global_file,) = (tmp_path / "poc/kits/tiny").glob("prod_*/localhost/fedfoundry/tiny/global.pt")
        before, more = load_tensors(global_file)["round"], ("--resume",)
        assert 2 <= before < 5
    ended = federate("poc", file, *more)
    output = ended.communicate()[0]
    assert ended.returncode == 0 and f"round {before}/{rounds}" not in output
    assert f"round {rounds}/{rounds}" in output
    local = LocalEngine(federation(values, output_dir=str(tmp_path / "local")), quiet=True).run()
    assert_same_run(local, tmp_path / "poc", ("global.pt", "tiny_bundle.pt"))
    (kits,) = (tmp_path / "poc" / "kits" / "tiny").glob("prod_*")
    assert left_running(tmp_path / "poc") == []
    for name in roots:
        settings = json.loads((kits / name / "startup" / "fed_client.json").read_text())
        assert (
            settings["client"]["connection_security"] == "mtls"
            and (kits / name / "startup/client.crt").is_file()
        )
        assert (
            kits / name / "fedfoundry/tiny/clients" / name / "check.txt"
        ).read_text() == "nothing to mend\n"
    at_server = [path for path in (kits / "localhost").rglob("*") if path.is_file()]
    named = [
        path for path in at_server if any(str(root).encode() in path.read_bytes() for root in roots.values())
    ]
    assert named == []


def test_a_second_rehearsal_in_the_same_folder_leaves_the_kits_of_the_first(roots, tmp_path):
    kit = tmp_path / "poc" / "kits" / "kept.txt"
    kit.parent.mkdir(parents=True)
    kit.write_text("kept")
    whole = federation(file_values(roots, tmp_path / "poc"))
    with (
        FolderLock(tmp_path / "poc", "kits.lock").held(),
        pytest.raises(InputError, match="poc: another process runs in this folder; wait for it"),
    ):
        ProofOfConcept(whole).run()
    assert kit.read_text() == "kept"


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}])
@pytest.mark.parametrize(("within", "mark"), [("", "study.json"), ("factory", "global.pt")])
def test_a_rehearsal_of_another_kind_leaves_the_kits_as_they_are(roots, tmp_path, within, mark, how):
    kit = tmp_path / "kits" / "kept.txt"
    kit.parent.mkdir()
    for file in (kit, tmp_path / mark):
        file.write_text("kept")
    kind = JobKind(parts=JobParts(within))
    with pytest.raises(InputError, match=r"expected the folder of a (run, found a study|study, found a run)"):
        ProofOfConcept(federation(file_values(roots, tmp_path)), kind=kind).run(**how)
    assert kit.read_text() == "kept"


def test_export_needs_no_data_and_a_job_no_clients_to_be_there(roots, tmp_path, capsys):
    values = file_values(roots, tmp_path / "out")
    values["clients"] = {name: {"domain": client["domain"]} for name, client in values["clients"].items()}
    file = write_file(tmp_path / "f.yaml", values)
    words = ["--output_dir", tmp_path / "job", "--server", "fed.example.org", "--port", "8443"]
    code, output, error = told(capsys, COMMANDS, "export", file, *words)
    assert code == 0, error
    assert output.split() == [str(tmp_path / "job" / "tiny"), str(tmp_path / "job" / "project.yml")]
    assert (tmp_path / "job" / "tiny" / "meta.json").is_file()
    assert "fed.example.org" in (tmp_path / "job" / "project.yml").read_text()
    code, _, error = told(capsys, COMMANDS, "submit", file, "--startup_kit", tmp_path, "--nocheck")
    assert code == 2 and "expected an administrator's startup kit" in error
    code, _, error = told(capsys, COMMANDS, "run", file)
    assert code == 2 and "client 'island': 'data_root' is missing" in error
