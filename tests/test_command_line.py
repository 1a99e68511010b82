from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import benchmark, federate, phantoms, prepare_data
from shared_components.command_line import names, run
from shared_components.errors import InputError


def test_arguments_reach_the_function_and_its_result_is_not_printed(capsys):
    seen = []

    def command(path, *, seed=0):
        seen.append((path, seed))
        return "a result"

    run(command, ["here", "--seed", "3"])
    assert seen == [("here", 3)]
    assert capsys.readouterr().out == ""


def test_a_command_is_chosen_by_name_with_a_dash():
    seen = []
    run(
        {"make-datalist": lambda root: seen.append(str(root)), "check": lambda: None},
        ["make-datalist", "folder"],
    )
    assert seen == ["folder"]


@pytest.mark.parametrize("error", [InputError, FileNotFoundError])
def test_a_mendable_fault_is_one_line_and_status_2(error, capsys):
    def command():
        raise error("dataset.json: no such file; run make-datalist")

    with pytest.raises(SystemExit) as stopped:
        run(command, [])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: dataset.json: no such file; run make-datalist\n"


def test_any_other_fault_keeps_its_stack_trace():
    def command():
        raise KeyError("a defect")

    with pytest.raises(KeyError, match="a defect"):
        run(command, [])


@pytest.mark.parametrize("word", ["--forse", "there"])
def test_a_misspelt_flag_or_a_surplus_word_stops_the_command_before_it_runs(word, capsys):
    seen = []

    def command(path, *, force=False):
        seen.append(path)

    for component, words in ((command, ["here", word]), ({"do": command}, ["do", "here", word, "--force"])):
        with pytest.raises(SystemExit) as stopped:
            run(component, words)
        assert stopped.value.code == 2
        assert seen == []
        told = f"error: {word}: expected no such word or flag here; -h lists what there is\n"
        assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--seeds", "0"], "--seeds: expected a whole number from 1 up, found 0"),
        (["--seeds", "few"], "--seeds: expected a whole number from 1 up, found 'few'"),
        (["--seeds"], "--seeds: expected a whole number from 1 up, found True"),
        (["--seed", "-1"], "--seed: expected a whole number from 0 up, found -1"),
        (["--rounds", "2.5"], "--rounds: expected a whole number, found 2.5"),
        (["--share", "much"], "--share: expected a number, found 'much'"),
        (["--share"], "--share: expected a number, found True"),
        (["--force=maybe"], "--force: expected true or false, found 'maybe'"),
        (["--seed", "2", "--seeds", "1", "--rounds", "None", "--noforce", "--share", "1"], None),
    ],
)
def test_numbers_and_switches_are_such(words, fault, capsys):
    seen = []

    def command(
        seeds: int = 3, seed: int = 0, rounds: int | None = None, force: bool = False, share: float = 0.5
    ):
        seen.append((seeds, seed, rounds, force, share))

    if fault is None:
        run(command, words)
        assert seen == [(1, 2, None, False, 1)]
        return
    with pytest.raises(SystemExit, match="2"):
        run(command, words)
    assert capsys.readouterr().err.startswith(f"error: {fault}") and seen == []


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["check", "-h"], ["check", "there", "--hidden", "-h"]])
def test_help_prints_the_docstring_and_does_not_run(words, capsys):
    seen = []

    def check(path="here", *, hidden=False):
        """Looks at a folder."""
        seen.append(path)

    with pytest.raises(SystemExit) as stopped:
        run({"check": check} if "check" in words else check, words)
    assert stopped.value.code == 0
    assert seen == []
    shown = capsys.readouterr()
    assert "Looks at a folder." in shown.out and "--hidden=HIDDEN" in shown.out and shown.err == ""
    assert "-h," not in shown.out


def test_help_that_nobody_reads_ends_quietly():
    command = f"{sys.executable} scripts/phantoms.py heads -h | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_help_of_no_command_lists_them(capsys):
    with pytest.raises(SystemExit, match="0"):
        run({"check": lambda: None, "make-datalist": lambda: None}, ["-h"])
    assert "make-datalist" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["-p", "-p=here"])
def test_a_letter_is_no_flag_but_a_negative_number_is_a_value(word, capsys):
    seen = []
    with pytest.raises(SystemExit, match="2"):
        run(lambda path=0: seen.append(path), [word, "here"])
    assert capsys.readouterr().err == f"error: {word}: expected a flag by its whole name; -h lists them\n"
    run(lambda path=0: seen.append(path), ["--path", "-1"])
    assert seen == [-1]


def test_naming_no_command_lists_them(capsys):
    with pytest.raises(SystemExit) as stopped:
        run({"check": lambda: None, "make-datalist": lambda: None}, [])
    assert stopped.value.code == 2
    assert "make-datalist" in "".join(capsys.readouterr())


def test_a_command_may_exit_with_its_own_status():
    def command():
        raise SystemExit(1)

    with pytest.raises(SystemExit) as stopped:
        run(command, [])
    assert stopped.value.code == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_end_that_others_ask_for_is_as_ctrl_c(number, capsys):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        run(lambda: os.kill(os.getpid(), number), [])
    assert stopped.value.code == 128 + number
    assert capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(number) is before


def test_a_place_that_cannot_be_written_is_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stopped:
        run(lambda: (tmp_path / "file" / "log.txt").open("w"), [])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/file/log.txt: cannot be used (Not a directory); "
        "name a place that may be read and written, on a disk with space left\n"
    )


def test_ctrl_c_exits_130(capsys):
    def command():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run(command, [])
    assert stopped.value.code == 130


def test_a_folder_named_by_a_date_stays_text():
    seen = []
    run(lambda folder: seen.append((folder, type(folder))), ["2024_01"])
    assert seen == [("2024_01", str)]


@pytest.mark.parametrize("given", ["1.50", "1e5", "0x10", "[t1]", "True", "t 1", "2024_01", "t1#2"])
@pytest.mark.parametrize("form", [["--domain={}"], ["--domain", "{}"]])
def test_a_text_that_looks_like_a_number_stays_text(given, form):
    seen = []

    def command(*, domain: str, more: str | None = None, at: float = 0.5) -> None:
        seen.append((domain, more, at))

    run({"make": command}, ["make", *(word.format(given) for word in form), "--more=None", "--at", "0.25"])
    assert seen == [(given, None, 0.25)]


def test_words_that_fill_a_text_by_their_place_stay_text():
    seen = []

    def score(root: str, *folders: str, at: float = 0.5) -> None:
        seen.append((root, folders, at))

    def report(
        run_dir: str, images: str | None = None, pictured: int = 1, output_dir: str | None = None
    ) -> None:
        seen.append((run_dir, images, pictured, output_dir))

    run({"score": score}, ["score", "2024.10", "1.50", "--at", "0.25", "2e1", "x,y"])
    run(report, ["--images", "1.50", "2024.10", "3", "None"])
    assert seen == [("2024.10", ("1.50", "2e1", "x,y"), 0.25), ("2024.10", "1.50", 3, None)]


def test_a_reader_that_has_gone_ends_the_command_quietly():
    code = (
        "from shared_components.command_line import run\n"
        "def many() -> None:\n    for number in range(100_000):\n        print(number)\n"
        "run(many, [])\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program.stdout.readline()
    program.stdout.close()
    assert (program.stderr.read(), program.wait()) == (b"", 141)


@pytest.mark.parametrize("words", ["a, 2", ("a", 2), ["a ", "2"]])
def test_names_are_a_text_with_commas_or_what_fire_makes_of_it(words):
    assert names(words) == ["a", "2"]


@pytest.mark.parametrize("script", [federate, prepare_data, phantoms, benchmark])
def test_options_of_a_command_are_named(script):
    """A word too many is told as such, and not taken for the next option."""
    places = {
        f"{name} {each.name}"
        for name, command in script.COMMANDS.items()
        for each in inspect.signature(command).parameters.values()
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and each.default is not inspect.Parameter.empty
    }
    assert places <= {"factory scenario", "real-head ckpt_path"}
