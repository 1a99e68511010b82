"""Files that people write, malformed by a grammar: one line, exit code 2, at once, and nothing is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

import pytest
import yaml

from scripts.federate import COMMANDS
from shared_components import command_line
from shared_components.federation import federation_file
from tests.federation.tiny import TINY_BUNDLE, make_root
from tests.malformed import Case, cases

REPO = Path(__file__).parents[1]
SEED = 10
LONGEST = 10  # seconds
SMALL = {
    "image_size": 32,
    "channels": [8, 8, 8, 8],
    "discriminator_channels": [8, 8, 8, 8],
    "z_dim": 16,
    "w_dim": 16,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("malformed")
    root = make_root(folder / "north", "t1", images=1, seed=0)
    (root / "loop.nii.gz").symlink_to("loop.nii.gz")
    os.mkfifo(root / "pipe.nii.gz")
    return folder


def made(folder):
    """Every case, with the federation files' sound content."""
    federation = {
        "name": "tiny",
        "bundle": str(TINY_BUNDLE),
        "domains": ["t1", "t2"],
        "labels": {0: "background", 1: "brain"},
        "clients": {"north": {"data_root": "north", "domain": "t1"}},
        "rounds": 3,
        "updates_per_round": 2,
        "workers": 0,
        "output_dir": str(folder / "run"),
        "seed": 5,
        "aggregator": {"_target_": "shared_components.federation.FedAvg"},
        "overrides": {"learning_rate": 0.1},
    }
    overridden = {
        **federation,
        "bundle": str(REPO / "bundles" / "factory"),
        "overrides": SMALL,
        "name": "small",
    }
    dataset = json.loads((folder / "north" / "dataset.json").read_text())
    return federation, list(cases(SEED, federation, dataset, overridden))


def tree(folder):
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*"))


def place(folder: Path, case: Case, sound: dict) -> list[str]:
    """Write the case, and say how to check it."""
    file = folder / "f.yaml"
    if case.kind == "dataset":
        (folder / "north" / "dataset.json").write_bytes(case.content)
        file.write_text(yaml.safe_dump(sound))
    else:
        file.write_bytes(case.content)
    return ["check", str(file), *(["--trust"] if case.kind != "federation" else [])]


class TooLong(BaseException):
    """Nothing under test catches it, as it might a ``TimeoutError``."""


def checked(words: list[str]) -> int | str:
    """The command's exit code in this process, or how it ended instead."""

    def stop(*_):
        raise TooLong(f"took more than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        command_line.run(COMMANDS, words)
        return 0
    except SystemExit as exit:
        return exit.code
    except BaseException:  # a test of whatever may come out
        return traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_three_hundred_malformed_files_each_end_in_a_line(inputs, monkeypatch, capsys):
    monkeypatch.chdir(inputs)
    monkeypatch.setattr(federation_file, "BUNDLES", REPO)
    sound, found = made(inputs)
    assert Counter(case.kind for case in found) == {"federation": 100, "dataset": 100, "overrides": 100}
    dataset = inputs / "north" / "dataset.json"
    whole = dataset.read_bytes()
    faults, accepted, refused = [], [], Counter()
    for number, case in enumerate(found):
        words = place(inputs, case, sound)
        before = tree(inputs)
        capsys.readouterr()
        code = checked(words)
        err = capsys.readouterr().err
        what = f"{number} {case.kind}: {case.what}"
        refused[case.kind] += code == 2
        if code == 0:
            accepted.append(what)
        if code not in (0, 2):
            faults.append(f"{what}: {code}")
        elif code == 2 and "error: " not in err:
            faults.append(f"{what}: no message: {err!r}")
        elif "Traceback" in err or any(len(line) > 1000 for line in err.splitlines()):
            faults.append(f"{what}: {err[:1500]}")
        if tree(inputs) != before:
            faults.append(f"{what}: something was written")
        dataset.write_bytes(whole)
    assert not faults, "\n".join(faults)
    assert refused["overrides"] == 100 and min(refused.values()) > 80, "\n".join(accepted)


@pytest.mark.thorough
def test_a_sample_of_them_as_a_user_meets_them(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    sound, found = made(inputs)
    whole = (inputs / "north" / "dataset.json").read_bytes()
    for first in (0, 100, 200):
        case = next(case for case in found[first:] if checked(place(inputs, case, sound)) == 2)
        words = place(inputs, case, sound)
        command = [sys.executable, str(REPO / "scripts" / "federate.py"), *words]
        path = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
        ended = subprocess.run(
            command, cwd=inputs, env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=120
        )
        (inputs / "north" / "dataset.json").write_bytes(whole)
        assert ended.returncode == 2, (case, ended.stderr)
        assert b"error: " in ended.stderr and b"Traceback" not in ended.stderr
