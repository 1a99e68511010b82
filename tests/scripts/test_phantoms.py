"""The command line of the phantoms, with the arguments a user types."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from shared_components.command_line import run
from shared_components.data import phantoms
from tests.scripts.commands import assert_help

SCRIPT = Path(__file__).parents[2] / "scripts" / "phantoms.py"
COMMANDS = runpy.run_path(str(SCRIPT))["COMMANDS"]


def test_every_scenario_has_a_command():
    assert {"make_heads", "make_cardiac", "make_vessels"} <= set(phantoms.__all__)
    assert set(phantoms.__all__) <= {f"make_{name}" for name in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_arguments(command, capsys):
    flags = ("--output_dir", "--seed", "--subjects", "--label_all", "--workers", "--force")
    assert_help(capsys, COMMANDS, [command], flags)


def test_hearts_for_domain_generalisation(tmp_path, capsys):
    arguments = [
        "cardiac",
        "--output_dir",
        str(tmp_path),
        "--subjects",
        "1,0,0",
        "--coarseness",
        "4",
        "--workers",
        "1",
    ]
    run(COMMANDS, [*arguments, "--generalisation"])
    assert capsys.readouterr().out.split() == [str(tmp_path / domain) for domain in "ABCD"]
    assert all((tmp_path / domain / f"labels/{domain}_training_001.nii").is_file() for domain in "ABCD")


def test_making_and_refusing_vessels(tmp_path, capsys):
    out = tmp_path / "made"
    arguments = [
        "vessels",
        "--output_dir",
        str(out),
        "--subjects",
        "0,0,1",
        "--coarseness",
        "4",
        "--workers",
        "1",
    ]
    run(COMMANDS, arguments)
    assert capsys.readouterr().out.split() == [str(out / domain) for domain in ("mra", "venography", "octa")]
    content = json.loads((out / "mra" / "dataset.json").read_text())
    assert [len(content[split]) for split in ("training", "validation", "test")] == [0, 0, 1]
    with pytest.raises(SystemExit) as stopped:
        run(COMMANDS, [*arguments, "--seed", "1"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {out}: expected a new or empty folder")
    assert "--force" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["heads", "--seed", "-1"], "--seed: expected a whole number from 0 up, found -1"),
        (["heads", "--seed", "1.5"], "--seed: expected a whole number from 0 up, found 1.5"),
        (["vessels", "--coarseness", "-2"], "coarseness: expected a number from 0.5 to 10, found -2"),
        (["heads", "--coarseness", "1000"], "coarseness: expected a number from 0.5 to 10, found 1000"),
        (["heads", "--coarseness", "abc"], "--coarseness: expected a number, found 'abc'"),
        (["cardiac", "--workers", "abc"], "--workers: expected a whole number from 1 up, found 'abc'"),
        (["cardiac", "--label_all", "no"], "--label_all: expected true or false, found 'no'"),
        (
            ["cardiac", "--subjects", "0,0,0"],
            "subjects: expected at least one volume of one client, found none",
        ),
    ],
)
def test_numbers_and_switches_that_are_none_are_one_line(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(COMMANDS, [*arguments, "--output_dir", str(tmp_path / "out")])
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_number_of_subjects_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(COMMANDS, ["heads", "--output_dir", str(tmp_path / "out"), "--subjects", "1,2"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: --subjects: expected one number")
    assert not (tmp_path / "out").exists()
