"""One way to start a command line: python-fire, with mendable faults as one line instead of a stack trace."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
from fire.core import FireExit
from fire.helptext import HelpText
from fire.parser import DefaultParseValue
from fire.trace import FireTrace

from shared_components.errors import InputError, os_error_line
from shared_components.interrupts import Interrupts
from shared_components.value_rules import Rule, finite, flag, whole

SURPLUS = "Could not consume arg: "  # in fire's words


class _Call:
    """A call that fire has parsed but that has not run yet."""

    __slots__ = ("_run",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._run = call


def _deferred(function: Callable) -> Callable:
    @functools.wraps(function)
    def parsed(*args, **kwargs):
        return _Call(functools.partial(_checked, function, *args, **kwargs))

    return parsed


def _checked(function: Callable, *args: Any, **kwargs: Any) -> object:
    """Call a command whose flags that are numbers and switches have got such.

    Raises:
        InputError: some have not.
    """
    signature = inspect.signature(function)
    given = signature.bind(*args, **kwargs).arguments
    rules = {
        name: rule for name, value in given.items() if (rule := _rule(signature.parameters[name], value))
    }
    faults = [fault for name, rule in rules.items() if (fault := rule.fault(f"--{name}", given[name]))]
    if faults:
        raise InputError("; ".join(faults))
    return function(*args, **kwargs)


def _rule(parameter: inspect.Parameter, value: Any) -> Rule | None:
    """Of a switch or a number; a whole one is a count where its default is above 0."""
    kind, default = str(parameter.annotation).removesuffix(" | None"), parameter.default
    if value is None and default is None:
        return None
    if kind == "int":
        return whole(low=min(default, 1)) if isinstance(default, int) else whole()
    return {"bool": flag(), "float": finite()}.get(kind)


def run(component: Callable | Mapping[str, Callable], argv: Sequence[str] | None = None) -> None:
    """Run a function, or one of several named functions, with the arguments of a command line.

    The whole command line is parsed before anything runs, so a misspelt flag (``--forse``) stops the command
    instead of being noticed when its work is done. ``-h`` is help, wherever it stands; fire would take it, as any
    letter, for the one flag that begins with it. A command's return value is not printed.

    Args:
        component: a function, or a mapping from command names to functions.
        argv: arguments without the program's name; ``None`` takes them from ``sys.argv``.
    Raises:
        SystemExit: with code 2 after an :class:`InputError`, a file that is missing or cannot be read or written
            (one line on stderr) or a command line that does not parse; 130 after Ctrl-C, 143 after SIGTERM, 129 after
            SIGHUP, 141 where nobody reads the output any more; 0 after ``--help``; else a command's own code.
    """
    if callable(component):
        commands: object = _deferred(component)
    else:
        commands = {name: _deferred(function) for name, function in component.items()}
    words = _as_typed(component, sys.argv[1:] if argv is None else argv)
    asked = bool({"-h", "--help"} & set(words))
    task = functools.partial(print, _help(component, words)) if asked else _parsed(commands, words)
    try:
        with Interrupts().noticed():
            task()
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        raise SystemExit(128 + signal.SIGPIPE) from None
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        line = os_error_line(error) or (str(error) if isinstance(error, FileNotFoundError) else None)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        with contextlib.suppress(OSError):  # after SIGHUP there is no terminal
            print("stopped", file=sys.stderr)
        raise SystemExit(128 + getattr(error, "number", signal.SIGINT)) from None
    if asked:
        raise SystemExit(0)


def _parsed(commands: object, words: Sequence[str]) -> Callable[[], object]:
    """The call that a command line names.

    Raises:
        SystemExit: with code 2, it names none or does not parse.
    """
    _require_whole_names(words)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            call = fire.Fire(commands, command=words, serialize=_silent)
    except FireExit as stopped:
        surplus = _surplus(stopped.trace)
        line = f"error: {surplus}: expected no such word or flag here; -h lists what there is"
        print(line if surplus else told.getvalue().rstrip(), file=sys.stderr)
        raise
    if not isinstance(call, _Call):  # no command was named: fire has printed what there is
        raise SystemExit(2)
    return call._run


def _surplus(trace: FireTrace) -> str:
    """The word that a command does not take; empty if fire stopped for another reason."""
    fault = trace.elements[-1].ErrorAsStr() if trace.HasError() else ""
    return fault.removeprefix(SURPLUS) if fault.startswith(SURPLUS) else ""


def _reader_is_gone() -> bool:
    """Whether what reads the output, such as ``head``, has ended; then the rest of it goes nowhere."""
    output, poll = sys.stdout.fileno(), select.poll()
    poll.register(output, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # for the flush at the end of Python
    return True


def _as_typed(component: Callable | Mapping[str, Callable], words: Sequence[str]) -> list[str]:
    """Quote what is a text and fire would take for something else: a name such as ``2024_01``, and what fills a
    parameter that is a text, by its flag (``--domain 1.50``) or by its place (``check 2024.10``).
    """
    function = component if callable(component) else component.get(next(iter(words), ""))
    parameters = {} if function is None else inspect.signature(function).parameters
    texts = {name for name, each in parameters.items() if str(each.annotation) in ("str", "str | None")}
    flags = {_flag_name(word) for word in words}
    places = (
        n for n, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD and n not in flags
    )
    rest = next((name for name, each in parameters.items() if each.kind is each.VAR_POSITIONAL), "")
    start = 0 if callable(component) else 1
    typed, filled = list(words[:start]), ""
    for word in words[start:]:
        name, (before, equals, value) = _flag_name(word), word.partition("=")
        if name:
            typed.append(f"{before}={_quoted(value)}" if equals and name in texts else word)
        else:
            is_text = (filled or next(places, rest)) in texts or re.fullmatch(r"\d+(_\d+)+", word)
            typed.append(_quoted(word) if is_text else word)
        filled = name if name in parameters and not equals else ""
    return typed


def _flag_name(word: str) -> str:
    """``output_dir`` of ``--output-dir=OUT``; empty for a word that is no flag."""
    is_flag = re.match(r"--|-[A-Za-z]", word)
    return word.partition("=")[0].lstrip("-").replace("-", "_") if is_flag else ""


def _quoted(value: str) -> str:
    """A text such that fire takes it for one; ``None`` stays none, and what has quotation marks loses them."""
    return value if DefaultParseValue(value) in (None, value) or value[:1] in ("'", '"') else repr(value)


def _help(component: Callable | Mapping[str, Callable], words: Sequence[str]) -> str:
    """Fire's help of a command, or of all of them where none is named, without the letters that it offers for flags."""
    trace = FireTrace(component, name=Path(sys.argv[0]).name)
    if not callable(component):
        name = next((word for word in words if word in component), None)
        if name is None:
            return HelpText(dict(component), trace=trace)
        component = component[name]
        trace.AddAccessedProperty(component, name, [name], None, None)
    return re.sub(r"^( *)-\w, --", r"\1--", HelpText(component, trace=trace), flags=re.MULTILINE)


def _require_whole_names(words: Sequence[str]) -> None:
    letter = next((word for word in words if re.fullmatch(r"-[A-Za-z](=.*)?", word)), None)
    if letter is not None:
        print(f"error: {letter}: expected a flag by its whole name; -h lists them", file=sys.stderr)
        raise SystemExit(2)


def _silent(result: object) -> object:
    return None if isinstance(result, _Call) else result


def names(value: str | Iterable[Any]) -> list[str]:
    """What a command line names as ``a,b`` or, as fire hands it over, as a list."""
    words = value.split(",") if isinstance(value, str) else value
    return [str(word).strip() for word in words]


def chosen(value: str | Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """What of ``known`` a command line names, as ``a,b`` or as a list; all for None.

    Raises:
        InputError: a name that is not known.
    """
    if value is None:
        return list(known)
    found = names(value)
    unknown = [name for name in found if name not in known]
    if unknown or not found:
        raise InputError(f"{what}: expected some of {', '.join(known)}, found {', '.join(unknown) or 'none'}")
    return list(dict.fromkeys(found))
