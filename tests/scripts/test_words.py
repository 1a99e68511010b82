"""All command lines speak alike."""

from __future__ import annotations

import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from shared_components.command_line import run

REPO = Path(__file__).parents[2]
SCRIPTS = sorted((REPO / "scripts").glob("*.py"))
OTHER_WORDS = {"out", "output", "out_dir", "output_folder", "target", "destination"}


def argument_texts(command) -> list[str]:
    """The lines of a docstring that explain arguments; python-fire cuts them where one looks like the next argument."""
    text = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(command), flags=re.DOTALL | re.MULTILINE)
    lines = text[1].splitlines() if text else []
    return [re.sub(r"^ {4}\w+:", "", line).strip() for line in lines]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.stem)
def test_output_has_one_word_and_no_flag_is_a_letter(script, capsys):
    module = runpy.run_path(str(script))
    for name, command in module.get("COMMANDS", {script.stem: module.get(script.stem)}).items():
        assert not OTHER_WORDS & set(inspect.signature(command).parameters), name
        with pytest.raises(SystemExit, match="0"):
            run({name: command}, [name, "-h"])
        shown = capsys.readouterr().out
        assert [line for line in argument_texts(command) if line not in " ".join(shown.split())] == [], name
        assert "NAME" in shown and not re.search(r"^ *-\w, ", shown, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "name", [file.stem for file in SCRIPTS if file.stem != "phantoms"]
)  # reads its makers' options
@pytest.mark.parametrize("words", [["--help"], ["--no_such_word", "1"]])
def test_help_and_mistyped_words_wait_for_no_slow_package(name, words):
    command = [sys.executable, "-X", "importtime", REPO / "scripts" / f"{name}.py", *words]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == (0 if words == ["--help"] else 2)
    imported = {line.split("|")[-1].strip() for line in ended.stderr.splitlines() if "|" in line}
    assert "shared_components.command_line" in imported
    assert not {"torch", "monai", "numpy"} & imported
