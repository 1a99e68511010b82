"""Command lines as a user types them, in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from shared_components import command_line


def told(capsys, commands: Callable | Mapping[str, Callable], *arguments: object) -> tuple[int, str, str]:
    """A command's exit code, stdout and stderr."""
    capsys.readouterr()
    code = 0
    try:
        command_line.run(commands, [str(argument) for argument in arguments])
    except SystemExit as exit:
        code = exit.code
    return code, *capsys.readouterr()


def assert_help(
    capsys, commands: Callable | Mapping[str, Callable], command: Sequence[str], words: Sequence[str]
) -> None:
    """``--help`` ends well, and has all words."""
    code, *shown = told(capsys, commands, *command, "--help")
    assert code == 0 and [word for word in words if word not in "".join(shown)] == []
