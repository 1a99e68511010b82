"""The command line of releases, in a copy of what states versions."""

from __future__ import annotations

import runpy
import shutil
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


def test_it_writes_what_changed_and_nothing_when_it_refuses(tmp_path, capsys):
    stating = ["requirements.txt", "pyproject.toml", "CHANGELOG.md", "shared_components/__init__.py", SCRIPT]
    stating += [str(file.relative_to(REPO)) for file in REPO.glob("bundles/*/configs/metadata.json")]
    for name in stating:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("## 99.0.0, unreleased\n\nMuch.\n")
    before = contents(tmp_path)
    code, out, err = command(capsys, tmp_path, "99.0.0", "--date", "tomorrow")
    assert (code, out) == (2, "")
    assert err == "error: --date: expected a day as 2026-01-31, found tomorrow; mend it\n"
    assert contents(tmp_path) == before
    code, out, err = command(capsys, tmp_path, "99.0.0", "--date", "2026-12-31", "--note", "much")
    assert code == 0, err
    after = contents(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {*stating} - {"requirements.txt", "pyproject.toml", SCRIPT}
    assert changed == set(out.splitlines()) and after.keys() == before.keys()
    assert after["CHANGELOG.md"] == "## 99.0.0, 2026-12-31\n\nMuch.\n"
    assert command(capsys, tmp_path) == (0, "", "")  # all is written


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}


def command(capsys, repo: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code and output of the script of a copy, with the code of this repository."""
    code = 0
    try:
        run(runpy.run_path(str(repo / SCRIPT))["release"], list(arguments))
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()
