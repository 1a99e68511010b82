"""The command line of the packages."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from shared_components.command_line import run
from tests.packaging.small import BUNDLES, LABELS, write_model
from tests.scripts.commands import assert_help

SCRIPT = Path(__file__).parents[2] / "scripts" / "package_bundle.py"
package_bundle = runpy.run_path(str(SCRIPT))["package_bundle"]
SETTINGS = {"domains": ["t1", "t2"], "labels": LABELS, "orientation": "RAS", "spacing": 4.0}


def test_help_lists_the_arguments(capsys):
    words = ("NAME", "WEIGHTS", "--output_dir", "--config", "--figures", "--development")
    assert_help(capsys, package_bundle, [], words)


def test_a_package_and_a_refusal(tmp_path, capsys):
    weights = write_model("adaptation", tmp_path / "model.pt")
    arguments = [
        "adaptation",
        "--weights",
        str(weights),
        "--output_dir",
        str(tmp_path / "out"),
        "--development",
    ]
    config = f"['{BUNDLES / 'adaptation/configs/smoke.yaml'}', {SETTINGS}]"
    run(package_bundle, [*arguments, "--config", config, "--trained_on", "noise"])
    folder, archive, checksum = map(Path, capsys.readouterr().out.split())
    assert folder == tmp_path / "out" / "adaptation" and (folder / "models" / "model.ts").is_file()
    assert checksum.read_text().endswith(f"  {archive.name}\n")
    with pytest.raises(SystemExit) as stopped:
        run(package_bundle, arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {weights}: its weights do not fit") and len(error.splitlines()) == 1
