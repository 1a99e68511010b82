"""Mendable faults as one line, also where a program that is not ours runs our configs."""

from __future__ import annotations

import logging
import re
import sys
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, run
from monai.utils import ensure_tuple

from shared_components.errors import InputError, input_error_in, loss_line, nearest, os_error_line
from shared_components.hyper_parameters import check_values
from shared_components.yaml_files import read_configs, references, top_id

GIVEN_ANYWAY = "bundle_root"  # in every command of the documents, whether the run reads it or not
MISREAD = {"true": "True", "false": "False", "null": "'$None'"}  # word: what would have that meaning


def show_input_errors() -> None:
    """From now on a process that dies of what a user can mend prints one line alone, and ends with exit code 2.

    That is an :class:`InputError`, or a place that cannot be read or written, such as a full disk.

    ``python -m monai.bundle`` wraps whatever a config's expression raises, so that the text would stand in the
    middle of two stack traces. To be called first in a config's ``initialize``; code that catches errors is not
    affected, nor is a program of one's own that runs the config.
    """
    if _is_monai_bundle(sys.argv[0]):
        sys.excepthook = _print_error
        for handler in (*logging.root.handlers, logging.lastResort):
            if handler is not None:
                handler.addFilter(_ToldOnce())


def check_command_line() -> None:
    """Refuse what ``python -m monai.bundle run`` would misunderstand in silence.

    It takes values in Python's notation, so that ``--resume false`` would be a text, which counts as true; and an id
    that no config has, as ``--probabilites True``, it would set for nobody; of one that this run does not read, a note
    tells. A value that its id may not have would fail
    somewhere inside, or after minutes. To be called in a config's ``initialize``.

    Raises:
        InputError: the value of an argument is true, false or null in another notation or None, its name is no id, or
            a hyper-parameter is not what it may be; a config file that is ambiguous.
    """
    program, *words = sys.argv
    if not _is_monai_bundle(program) or words[:1] != ["run"]:
        return
    given = dict(_arguments(words))
    for name, value in given.items():
        if value == "None":
            raise InputError(
                f"--{name} None: MONAI would take it for an option that was not given; write --{name} '$None'"
            )
        meant = MISREAD.get(value.lower())
        if meant not in (None, value):
            raise InputError(
                f"--{name} {value}: expected Python's notation, found a text; write --{name} {meant}"
            )
    place = given.get("args_file", "")
    stored = ConfigParser.load_config_file(place) if Path(place).is_file() else {}
    files = given.get("config_file") or stored.get("config_file")
    if not files:  # MONAI tells that there is none
        return
    config = read_configs(_files(files) if isinstance(files, str) else ensure_tuple(files))
    known = {*signature(run).parameters, *config}
    for name in (*given, *stored):
        id = top_id(name).lstrip("~").replace("-", "_")
        if id not in known:
            near = nearest(id, known)
            cure = f"did you mean --{near}?" if near else "their ids alone can be set"
            raise InputError(f"--{name}: is no id of the config files; {cure}")
    merged = _merged(config, stored, given)
    check_values(merged)
    for name in _unread(merged, (*given, *stored), given.get("run_id", "run")):
        print(f"note: --{name}: nothing of this run reads it", file=sys.stderr)


def _unread(config: Mapping[str, Any], given: Iterable[str], run_id: str) -> Iterator[str]:
    """Names of ``given`` whose ids nothing refers to that is run, by whatever way."""
    read: set[str] = set()
    found = {"imports", "initialize", "finalize", top_id(run_id)} & config.keys()
    while found:
        read |= found
        found = {id for each in found for id in references(config[each])} & config.keys() - read
    for name in given:
        id = top_id(name).replace("-", "_")
        if id in config and id not in {*read, GIVEN_ANYWAY} and name not in signature(run).parameters:
            yield name


def _is_monai_bundle(program: str) -> bool:
    """Whether the program is ``python -m monai.bundle``."""
    return Path(program).parts[-3:] == ("monai", "bundle", "__main__.py")


def _arguments(words: list[str]) -> Iterator[tuple[str, str]]:
    """Names without dashes, and values, empty where there is none."""
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            yield name, value if has_value or following.startswith("--") else following


def _files(config_file: str) -> Sequence[str]:
    """The config files that ``--config_file`` names: one, several with commas, or a list."""
    if config_file.startswith(("[", "(")):  # in Python's notation
        return ensure_tuple(literal_eval(config_file))
    return [config_file] if Path(config_file).is_file() else config_file.split(",")


def _merged(config: dict[str, Any], stored: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The config with the values of an ``--args_file`` and then the command line's, which are taken as python-fire
    takes them, an empty one for true.
    """
    parser, own = ConfigParser(config), signature(run).parameters
    typed = {
        k.replace("-", "_"): DefaultParseValue(v) if v else True for k, v in given.items() if k not in own
    }
    parser.update({name: value for name, value in stored.items() if name not in own} | typed)
    return parser.get()


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    line = line_of(error)
    if line is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(2)  # Python takes it as the program's own, and ends as after any other


def line_of(error: BaseException) -> str | None:
    """One line for an error that a user can mend, by its causes; None for a defect."""
    found = input_error_in(error)
    outer = error
    while found is None and error.__cause__ is not None:
        outer, error = error, error.__cause__
    if found is not None:
        return str(found)
    if isinstance(error, OSError):
        return os_error_line(error)
    return loss_line(error) or _unknown_argument(outer, error)


def _unknown_argument(outer: BaseException, error: BaseException) -> str | None:
    """A line where a component of a config, which MONAI names in ``outer``, has been given what it does not take."""
    component = re.match(r"Failed to instantiate component '(.+?)' ", str(outer))
    argument = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if component is None or argument is None or not isinstance(error, TypeError):
        return None
    return f"{component[1]} takes no '{argument[1]}'; correct the config, or --…::{argument[1]} of the command line"


class _ToldOnce(logging.Filter):
    """Leaves out what ignite says of an error that will be told in a line of its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = "run is terminating due to exception" in record.getMessage()
        return not (told and line_of(sys.exc_info()[1] or Exception()))
