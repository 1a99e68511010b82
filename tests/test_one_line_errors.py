from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from shared_components.errors import InputError, input_error_in
from shared_components.one_line_errors import check_command_line, show_input_errors

PROGRAM = """
import sys
sys.argv[0] = '/site-packages/monai/bundle/__main__.py'
from shared_components.errors import InputError
from shared_components.one_line_errors import show_input_errors
show_input_errors()
try:
    raise {error}('volume.nii.gz: expected this, found that')
except ValueError as error:
    raise RuntimeError('Failed to evaluate') from error
"""


def run(error: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )


def test_a_wrapped_input_error_ends_the_process_with_its_line_alone():
    ended = run("InputError")
    assert ended.returncode == 2
    assert ended.stderr == "error: volume.nii.gz: expected this, found that\n"


@pytest.fixture
def ended(monkeypatch, capsys):
    """How a program ends that an error goes through: its exit code, and what it says."""

    def call(
        error: BaseException, program: str = "/site-packages/monai/bundle/__main__.py"
    ) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [program])
        monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
        show_input_errors()
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 1, capsys.readouterr().err

    return call


def failed(cause: Exception) -> RuntimeError:
    """As MONAI raises it of a cause."""
    try:
        raise RuntimeError("Failed to evaluate") from cause
    except RuntimeError as error:
        return error


def test_a_place_that_cannot_be_written_is_one_line(ended):
    with pytest.raises(OSError, match="Not a directory") as caught:
        Path("/dev/null/x").write_text("")
    assert ended(failed(caught.value)) == (
        2,
        "error: /dev/null/x: cannot be used (Not a directory); "
        "name a place that may be read and written, on a disk with space left\n",
    )


def test_what_ignite_says_of_such_an_error_is_left_out():
    program = PROGRAM.format(error="InputError").replace(
        "except ValueError as error:",
        "except ValueError as error:\n    import logging\n"
        "    logging.error('x')\n"
        "    logging.getLogger('e').error(f'Engine run is terminating due to exception: {error}')",
    )
    program = "import logging; logging.basicConfig()\n" + program
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr == "ERROR:root:x\nerror: volume.nii.gz: expected this, found that\n"


def test_an_argument_that_a_component_does_not_take_is_one_line(ended):
    config = {"a": {"_target_": "monai.inferers.SliceInferer", "overlp": 1}}
    with pytest.raises(RuntimeError) as caught:
        ConfigParser(config).get_parsed_content("a")
    assert ended(caught.value) == (
        2,
        "error: monai.inferers.SliceInferer takes no 'overlp'; correct the config, or --…::overlp of the command "
        "line\n",
    )


def test_any_other_error_keeps_its_trace(ended):
    code, text = ended(failed(ValueError("volume.nii.gz: expected this, found that")))
    assert code == 1 and "Traceback" in text


def test_an_error_without_one_among_its_causes_has_none():
    assert input_error_in(RuntimeError("x")) is None
    assert str(input_error_in(InputError("x"))) == "x"


def test_a_program_of_ones_own_keeps_its_traces(ended):
    code, text = ended(failed(InputError("x")), program="/site-packages/mine/__main__.py")
    assert code == 1 and "Traceback" in text


@pytest.mark.parametrize(
    ("stored", "words", "message"),
    [
        ({}, ["--probabilites", "True"], r"--probabilites: is no id .*; did you mean --probabilities\?$"),
        ({"probabilites": True}, [], r"--probabilites: is no id .*; did you mean --probabilities\?$"),
        ({"cache": "ram"}, [], "^cache: expected one of memory, disk, none, found 'ram'$"),
        ({"cache": "ram"}, ["--cache", "disk", "--resume=3"], "^resume: expected true or false, found 3$"),
    ],
)
def test_an_args_file_is_checked_as_the_command_line_is(tmp_path, monkeypatch, stored, words, message):
    (tmp_path / "a.yaml").write_text("resume: false\ncache: memory\nprobabilities: true\n")
    (tmp_path / "args.json").write_text(json.dumps({"config_file": str(tmp_path / "a.yaml"), **stored}))
    program = "/site-packages/monai/bundle/__main__.py"
    monkeypatch.setattr(sys, "argv", [program, "run", "--args_file", str(tmp_path / "args.json"), *words])
    with pytest.raises(InputError, match=message):
        check_command_line()


@pytest.fixture
def command_line(monkeypatch, tmp_path):
    """Sets the command line of ``python -m monai.bundle run`` with two config files."""
    (tmp_path / "a.yaml").write_text("resume: false\ncache: memory\nheld_out: null\nsteps: {rate: 1}\n")
    (tmp_path / "b.json").write_text('{"probabilities": true}')
    files = str([str(tmp_path / "a.yaml"), str(tmp_path / "b.json")])

    def call(*words: str) -> None:
        program = "/site-packages/monai/bundle/__main__.py"
        monkeypatch.setattr(sys, "argv", [program, "run", "--config_file", files, *words])
        check_command_line()

    return call


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume", "false"], "--resume false: .*; write --resume False$"),
        (["--resume=TRUE"], "write --resume True$"),
        (["--held_out", "null"], r"write --held_out '\$None'$"),
        (
            ["--held_out", "None"],
            r"would take it for an option that was not given; write --held_out '\$None'$",
        ),
        (["--probabilites", "True"], r"--probabilites: is no id .*; did you mean --probabilities\?$"),
        (["--xyz=1"], "--xyz: is no id of the config files; their ids alone can be set$"),
        (["--stepz::rate", "1"], r"--stepz::rate: is no id .* did you mean --steps\?"),
    ],
)
def test_what_would_be_misunderstood_in_silence_is_refused(command_line, words, message):
    with pytest.raises(InputError, match=message):
        command_line(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cache", "ram"], "^cache: expected one of memory, disk, none, found 'ram'$"),
        (["--resume=3"], "^resume: expected true or false, found 3$"),
        (
            ["--held-out", "['B']"],
            r"^held_out: expected a text that is no expression, or null, found \['B'\]$",
        ),
        (["--cache", "@nope"], "^cache: '@nope' cannot be resolved .*`@nope` is not defined"),
        (["--cache", "3", "--resume", "'no'"], "^cache: .*; resume: expected true or false, found 'no'$"),
        (["--config_file", "twice.yaml"], r"twice\.yaml: .*line 2: key 'resume' stands twice"),
    ],
)
def test_values_that_an_id_may_not_have_are_refused(command_line, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.yaml").write_text("resume: false\nresume: true\n")
    with pytest.raises(InputError, match=message):
        command_line(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["--resume", "False"], ["--resume=True"], ["--cache", "none"], ["--resume"], ["--cache", "x=false"],
        ["--steps::rate", "2"], ["--steps#momentum", "0.9"], ["--logging_file", "none.conf"], ["--held-out", "B"],
    ],
)  # fmt: skip
def test_other_arguments_are_taken(command_line, words):
    with pytest.raises(InputError, match=r"^--last: is no id"):  # and none before it is refused
        command_line(*words, "--last", "1")


@pytest.mark.parametrize("files", ["{0}/a.yaml", "{0}/b.yaml,{0}/a.yaml", "('{0}/a.yaml',)"])
def test_config_files_may_be_named_as_monai_takes_them(monkeypatch, tmp_path, files):
    (tmp_path / "a.yaml").write_text("resume: false\n")
    (tmp_path / "b.yaml").write_text("seed: 0\n")
    program = ["/monai/bundle/__main__.py", "run"]
    words = [*program, "--config_file", files.format(tmp_path), "--resumed", "True"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(InputError, match="did you mean --resume"):
        check_command_line()


def test_a_value_that_the_run_does_not_read_is_noted(tmp_path, monkeypatch, capsys):
    text = "bundle_root: .\nsize: 3\nspacing: 1\nnet: {size: '@size'}\ninitialize: []\nrun: [$@net]\n"
    text += "other: ['@spacing']\n"
    (tmp_path / "a.yaml").write_text(text)
    words = [
        "run",
        "--config_file",
        str(tmp_path / "a.yaml"),
        "--size",
        "4",
        "--spacing=2",
        "--bundle_root=elsewhere",  # in every documented command
    ]
    for more, noted in ([], "note: --spacing: nothing of this run reads it\n"), (["--run_id", "other"], None):
        monkeypatch.setattr(sys, "argv", ["/site-packages/monai/bundle/__main__.py", *words, *more])
        check_command_line()
        told = capsys.readouterr().err
        assert told == noted if noted else "--size" in told and "--spacing" not in told


def test_an_args_file_that_is_missing_is_for_monai_to_tell(monkeypatch):
    words = ["/monai/bundle/__main__.py", "run", "--args_file", "a.json", "--no_id", "1"]
    monkeypatch.setattr(sys, "argv", words)
    check_command_line()
    monkeypatch.setattr(sys, "argv", [*words, "--resume", "false"])
    with pytest.raises(InputError, match=r"^--resume false"):  # which needs no config to be seen
        check_command_line()


@pytest.mark.parametrize(("program", "command"), [("scripts/federate.py", "run"), (None, "verify_metadata")])
def test_other_commands_may_use_any_words(monkeypatch, program, command):
    bundles = "/monai/bundle/__main__.py"
    monkeypatch.setattr(sys, "argv", [program or bundles, command, "--resume", "false"])
    check_command_line()
    monkeypatch.setattr(sys, "argv", [bundles, "run", "--resume", "false"])
    with pytest.raises(InputError, match=r"^--resume false"):
        check_command_line()
