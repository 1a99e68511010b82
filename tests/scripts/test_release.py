"""The command line of releases, in a copy of what states versions."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared_components.command_line import run

REPO = Path(__file__).parents[2]
SCRIPT = "scripts/release.py"


def test_help_lists_the_arguments(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(runpy.run_path(str(REPO / SCRIPT))["release"], ["--help"])
    assert stopped.value.code == 0
    shown = "".join(capsys.readouterr())
    assert all(name in shown for name in ("--version", "--note", "--date"))


def test_it_writes_what_changed_and_nothing_when_it_refuses(tmp_path):
    stating = ["requirements.txt", "pyproject.toml", "CHANGELOG.md", "shared_components/__init__.py", SCRIPT]
    stating += [str(file.relative_to(REPO)) for file in REPO.glob("bundles/*/configs/metadata.json")]
    for name in stating:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("## 99.0.0, unreleased\n\nMuch.\n")
    before = contents(tmp_path)
    refused = command(tmp_path, "99.0.0", "--date", "tomorrow")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: --date: expected a day as 2026-01-31, found tomorrow; mend it\n"
    assert contents(tmp_path) == before
    ended = command(tmp_path, "99.0.0", "--date", "2026-12-31", "--note", "much")
    assert ended.returncode == 0, ended.stderr
    after = contents(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {*stating} - {"requirements.txt", "pyproject.toml", SCRIPT}
    assert changed == set(ended.stdout.splitlines()) and after.keys() == before.keys()
    assert after["CHANGELOG.md"] == "## 99.0.0, 2026-12-31\n\nMuch.\n"
    assert command(tmp_path).stdout == ""  # all is written


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}


def command(repo: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The script of a copy, with the code of this repository."""
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    words = [sys.executable, "-W", "ignore", str(repo / SCRIPT), *arguments]
    return subprocess.run(words, capture_output=True, encoding="utf-8", env=environment)
