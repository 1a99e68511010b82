from __future__ import annotations

import pytest

from scripts.benchmark import COMMANDS
from tests.scripts.commands import told


def benchmark(capsys, *arguments) -> tuple[int, str, str]:
    """The command's exit code, stdout and stderr."""
    return told(capsys, COMMANDS, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--scenario", "knee"),
            "scenario: expected one of head, patients, spine, vessels, cardiac, spine_unseen, found 'knee'",
        ),
        (("--report-only",), "holds no finished study; run without --report-only"),
        (("--scenario", "spine", "--labelled", "oslo"), "labelled: expected some of ceitec, ucl,"),
        (("--scenario", "vessels", "--rows", "few,best"), "found best"),
        (
            ("--scenario", "cardiac", "--report-only"),
            "holds no finished run of the configs as they are; run without --report-only",
        ),
        (("--scenario", "cardiac", "--held_out", "C,E"), "held_out: expected some of A, B, C, D, found E"),
        (("--scenario", "spine_unseen", "--rows", "unet,best"), "found best"),
    ],
)
def test_mendable_faults_are_one_line(arguments, message, tmp_path, capsys):
    code, out, err = benchmark(capsys, "quality", *arguments, "--output-dir", tmp_path)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_kernels_are_ratios_in_a_table(capsys):
    code, out, _ = benchmark(capsys, "kernels", "--repeats", 1)
    lines = [line.strip("| ").split(" | ") for line in out.splitlines()]
    assert code == 0 and lines[0] == ["kernel", "size (px)", "ms", "alternative", "ms", "ratio"]
    assert len(lines) == 2 + 6 and all(float(line[-1]) > 0 for line in lines[2:])
