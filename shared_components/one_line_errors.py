"""Mendable faults as one line, also where a program that is not ours runs our configs."""

from __future__ import annotations

import sys
from ast import literal_eval
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from types import TracebackType

from monai.bundle import ConfigParser, ReferenceResolver, run
from monai.bundle.utils import ID_SEP_KEY

from shared_components.errors import InputError

MISREAD = {"true": "True", "false": "False", "null": "'$None'"}  # word: what would have that meaning


def show_input_errors() -> None:
    """From now on a process that dies of an :class:`InputError` prints its text alone.

    ``python -m monai.bundle`` wraps whatever a config's expression raises, so that the text would stand in the
    middle of two stack traces. To be called first in a config's ``initialize``; code that catches errors is not
    affected.
    """
    sys.excepthook = _print_error


def check_command_line() -> None:
    """Refuse what ``python -m monai.bundle run`` would misunderstand in silence.

    It takes values in Python's notation, so that ``--resume false`` would be a text, which counts as true; and an id
    that no config has, as ``--probabilites True``, it would set for nobody. To be called in a config's ``initialize``.

    Raises:
        InputError: the value of an argument is true, false or null in another notation, or its name is no id.
    """
    program, *words = sys.argv
    if Path(program).parts[-3:] != ("monai", "bundle", "__main__.py") or words[:1] != ["run"]:
        return
    given = dict(_arguments(words))
    for name, value in given.items():
        meant = MISREAD.get(value.lower())
        if meant not in (None, value):
            raise InputError(
                f"--{name} {value}: expected Python's notation, found a text; write --{name} {meant}"
            )
    if "config_file" not in given:  # it stands in an --args_file
        return
    known = {*signature(run).parameters, *_ids(given["config_file"])}
    for name in given:
        id = ReferenceResolver.normalize_id(name).split(ID_SEP_KEY)[0].lstrip("+~").replace("-", "_")
        if id not in known:
            near = get_close_matches(id, known, n=1)
            cure = f"did you mean --{near[0]}?" if near else "their ids alone can be set"
            raise InputError(f"--{name}: is no id of the config files; {cure}")


def _arguments(words: list[str]) -> Iterator[tuple[str, str]]:
    """Names without dashes, and values, empty where there is none."""
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            yield name, value if has_value or following.startswith("--") else following


def _ids(config_file: str) -> Iterable[str]:
    """Top-level ids of the config files that ``--config_file`` names: one, several with commas, or a list."""
    is_list = config_file.startswith(("[", "("))  # in Python's notation
    return ConfigParser.load_config_files(literal_eval(config_file) if is_list else config_file)


def input_error_in(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` that ``error`` is or was raised from, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    found = input_error_in(error)
    if found is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {found}", file=sys.stderr)
