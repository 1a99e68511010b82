"""Command lines of Markdown documents."""

from __future__ import annotations

import re

ASSIGNED = re.compile(r"\b([A-Z]+)=(\"[^\"]*\"|[^ ;]+)(?:; |$)")  # a shell variable and its value


def commands(document: str) -> list[str]:
    """Every command of a document, once: those of its blocks, then those in running text."""
    named = re.findall(r"`((?:bash|python|torchrun) [^`]+)`", document)
    return [*dict.fromkeys([*block_commands(document), *named])]


def block_commands(document: str) -> list[str]:
    """The commands of a document's ``bash`` blocks, in order; comments left out, variables replaced."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", document, flags=re.DOTALL))
    lines = [line.split(" #")[0].strip() for line in blocks.replace("\\\n", " ").splitlines()]
    variables = {name: value for line in reversed(lines) for name, value in ASSIGNED.findall(line)}
    found = []
    for line in (line for line in lines if line and not line.startswith("#")):
        variables |= dict(ASSIGNED.findall(line))
        if command := ASSIGNED.sub("", line):
            found.append(replaced(command, variables))
    return found


def replaced(command: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        command = re.sub(rf"\${name}\b", lambda _, value=value: value.strip('"'), command)
    return command
