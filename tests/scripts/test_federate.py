"""The command line of the federation, as a user runs it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.federate import COMMANDS
from shared_components.federation import federation_file
from shared_components.federation.local import LocalEngine
from shared_components.files import load_tensors
from tests.federation.tiny import TINY_BUNDLE, federation, file_values, make_root, make_roots, write_file
from tests.scripts.commands import told

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return make_roots(tmp_path_factory.mktemp("data"))


@pytest.fixture
def values(roots, tmp_path, monkeypatch):
    monkeypatch.setattr(federation_file, "BUNDLES", TINY_BUNDLE.parent)
    return file_values(roots, tmp_path / "run")


def start(*arguments) -> subprocess.Popen:
    command = [sys.executable, str(REPO / "scripts" / "federate.py"), *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def federate(capsys, *arguments) -> tuple[int, str, str]:
    """The command's exit code, stdout and stderr."""
    return told(capsys, COMMANDS, *arguments)


def started_by(pid: int) -> list[int]:
    """Processes that a process, or one that it has started, has started."""
    threads = [thread.read_text().split() for thread in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for thread in threads for child in thread]
    return children + [deeper for child in children for deeper in started_by(child)]


def has_ended(pid: int, seconds: float) -> bool:
    """Whether the process ends within a time, waited for without polling."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_killed_in_a_round_and_resumed_equals_unbroken(values, tmp_path, capsys):
    marker = tmp_path / "killed"
    kill = {"kill": {"marker": str(marker), "client": "south", "epoch": 2, "update": 2}}
    file = write_file(tmp_path / "f.yaml", values, workers=1, overrides=kill)

    process = start("run", file)
    _, err = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL, err
    assert has_ended(int(marker.read_text()), seconds=20), "a worker outlived its engine"
    assert load_tensors(tmp_path / "run" / "global.pt")["round"] == 1
    code, out, err = federate(capsys, "status", tmp_path / "run")
    assert (code, "round 1 of 3, stopped" in out) == (0, True), err

    states = (tmp_path / "run" / "clients" / "north").glob("state.*")
    assert sorted(path.name for path in states) == ["state.1.pt", "state.2.pt"]

    process = start("run", file, "--resume")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    rounds = [
        line for line in out.splitlines() if line.startswith("round ")
    ]  # slow work tells who is at it, too
    assert rounds[0].startswith("round 2/3")
    unbroken = federation(values, overrides=kill, output_dir=str(tmp_path / "unbroken"))
    folder = LocalEngine(unbroken, quiet=True).run()
    expected, found = (load_tensors(f / "global.pt")["model"] for f in (folder, tmp_path / "run"))
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_interrupt_stops_cleanly_and_leaves_no_worker(values, tmp_path):
    file = write_file(tmp_path / "f.yaml", values, workers=1, rounds=10000)
    process = start("run", file)
    for line in process.stdout:
        if line.startswith("round 2/"):
            break
    children = started_by(process.pid)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in err and "--resume" in err
    assert len(children) > 1 and all(has_ended(child, seconds=20) for child in children)
    assert load_tensors(tmp_path / "run" / "global.pt")["round"] >= 2


def test_check_lists_every_problem_of_every_client(values, roots, tmp_path, capsys):
    file = write_file(tmp_path / "f.yaml", values)
    code, out, err = federate(capsys, "check", file)
    assert code == 0, err
    assert out.strip().endswith("3 clients ready: island, north, south")
    for name, root in roots.items():
        assert f"checking {root}: " in err, name

    clients = {**values["clients"]}
    for name, domain in (("north", "t2"), ("south", "pet")):
        clients[name] = {**clients[name], "domain": domain}
    file = write_file(tmp_path / "f.yaml", values, clients=clients)
    for command in ("check", "run"):
        code, _, err = federate(capsys, command, file)
        assert code == 2
        lines = err[err.index("error: ") :].strip().splitlines()
        assert "2 problems" in lines[0] and len(lines) == 3
        assert lines[1].startswith("client north: ") and lines[2].startswith("client south: ")
    assert not (tmp_path / "run").exists()


def test_check_runs_no_program_of_a_file_that_is_not_trusted(values, tmp_path, capsys):
    made = tmp_path / "made"
    aggregator = {"_target_": "os.mkdir", "path": str(made)}
    file = write_file(tmp_path / "f.yaml", values, aggregator=aggregator)
    code, _, err = federate(capsys, "check", file)
    assert code == 2 and not made.exists()
    assert err.count("\n") == 1 and "aggregator: _target_ 'os.mkdir' would run" in err and "--trust" in err
    federate(capsys, "check", file, "--trust")
    assert made.exists()


def test_stats_prints_a_table_and_writes_files_and_names_who_failed(values, tmp_path, capsys):
    file, out_dir = write_file(tmp_path / "f.yaml", values), tmp_path / "stats"
    code, out, err = federate(capsys, "stats", file, "--output_dir", out_dir, "--minimum", 4)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("client  domain  training") and lines[3].startswith("north   t1      < 4")
    assert lines[4].startswith("south   t2      4 (4 labelled)")
    assert "looking at the clients' volumes: 3 clients" in err
    names = ["statistics.json", "statistics.csv", "statistics.png", "report.html"]
    assert lines[-4:] == [str(out_dir / name) for name in names] and all(
        (out_dir / name).is_file() for name in names
    )

    sick = make_root(tmp_path / "sick", "t1", 3, 9)
    (sick / "images" / "s1.nii.gz").write_bytes(b"no image")
    clients = {**values["clients"], "north": {"data_root": str(sick), "domain": "t1"}}
    code, out, err = federate(capsys, "stats", write_file(tmp_path / "f.yaml", values, clients=clients))
    assert code == 2 and "\nsouth   t2      4 (4 labelled)" in out and "\nclient north: " in out
    assert "error: tiny: no statistics of north; the reasons stand above" in err
    assert (tmp_path / "run" / "statistics" / "report.html").is_file()


def test_run_reports_rounds_and_command_line_values_win(values, tmp_path, capsys):
    file = write_file(tmp_path / "f.yaml", values)
    code, out, err = federate(
        capsys, "run", file, "--rounds", 2, "--output-dir", tmp_path / "other", "--nocheck"
    )
    assert code == 0, err
    clients, *lines = out.splitlines()
    assert clients == "3 clients read their images and build their networks"
    assert [line.split(" | ")[0] for line in lines[:2]] == ["round 1/2", "round 2/2"]
    assert "loss" in lines[0] and "MB up" in lines[0]
    assert lines[-1].endswith(f"written to {tmp_path / 'other'}")

    code, _, err = federate(capsys, "run", file, "--rounds", 2, "--output-dir", tmp_path / "other")
    assert code == 2 and "\nerror: " in err and "--resume" in err and "Traceback" not in err


def test_status_of_no_run(tmp_path, capsys):
    code, _, err = federate(capsys, "status", tmp_path)
    assert code == 2 and "found no federation.yaml" in err
