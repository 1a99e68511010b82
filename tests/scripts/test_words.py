"""All command lines speak alike."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest

from shared_components.command_line import run

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").glob("*.py"))
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
