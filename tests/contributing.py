"""Does what CONTRIBUTING.md says, block by block, in the current folder: ``python tests/contributing.py USED.json``.

All commands run in this one process, as their own main programs, so that torch is imported once. USED.json gets the
files that Python imported or something read on the way.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"(?:^`(?P<path>[^`\n]+)`\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
PYTEST = ("-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore")


class Block(NamedTuple):
    """A fenced block; ``path``: the file that it is, None for commands and changes of files."""

    language: str
    path: str | None
    text: str


def read_blocks(document: str) -> list[Block]:
    """Every fenced block of a Markdown text.

    Raises:
        ValueError: one is neither a named file nor ``bash`` or ``diff``.
    """
    blocks = [Block(found["language"], found["path"], found["text"]) for found in FENCE.finditer(document)]
    if 2 * len(blocks) != len(re.findall(r"^```", document, re.M)):
        raise ValueError("expected blocks between lines of three backticks, found one of another form")
    for block in blocks:
        if (block.path is None) != (block.language in ("bash", "diff")):
            raise ValueError(f"expected a file's name above what is not bash or diff, found:\n{block.text}")
    return blocks


def commands(script: str) -> list[str]:
    """The lines of a ``bash`` block, continued ones joined."""
    return [line.strip() for line in script.replace("\\\n", " ").splitlines() if line.strip()]


def do(block: Block) -> None:
    """Write a file, change one, or run commands."""
    if block.path is not None:
        path = Path(block.path)
        if path.exists():
            raise FileExistsError(f"{path}: expected a new file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif block.language == "diff":
        subprocess.run(["git", "apply"], input=block.text, encoding="utf-8", check=True)
    else:
        for command in commands(block.text):
            print(f"$ {command}", flush=True)
            run(command)


def run(command: str) -> None:
    """One command line, in this process where it is Python's."""
    name, assigned, value = command.partition("=")
    if assigned and name.isidentifier():
        os.environ[name] = value
        return
    words = [os.path.expandvars(word) for word in shlex.split(command)]
    if words[:2] == ["python", "-m"]:
        sys.argv = words[2:]
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    elif words[0] == "python":
        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")
    elif words[:2] == ["bash", "scripts/test.sh"]:  # less the installation and the lint
        import pytest

        if code := pytest.main([*PYTEST, *words[2:]]):
            raise SystemExit(int(code))
    else:
        subprocess.run(words, check=True)


def imported() -> Iterator[str]:
    """Files of all Python modules."""
    for module in list(sys.modules.values()):
        if file := getattr(module, "__file__", None):
            yield file


def main(output: str) -> None:
    opened = set()

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[1] == "r":
            opened.add(arguments[0])

    blocks = read_blocks(Path("CONTRIBUTING.md").read_text(encoding="utf-8"))
    sys.addaudithook(note)
    for block in blocks:
        do(block)
    opened = {file for file in opened if not file.endswith(".py")}  # a copy of code is no use of it
    used = {os.path.relpath(file) for file in {*imported(), *opened}}
    Path(output).write_text(json.dumps(sorted(used)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
