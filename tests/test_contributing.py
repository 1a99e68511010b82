"""What CONTRIBUTING.md says is done as it stands there, in a folder that holds the repository's files."""

from __future__ import annotations

import csv
import json
import runpy
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import shared_components.packaging.package as packaging
from shared_components.data import datalist
from shared_components.files import load_tensors
from tests.documents import block_commands

REPO = Path(__file__).parents[1]
DOCUMENT = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = REPO / "tests" / "examples"
DOMAINS = ("t1", "t2", "flair")


def linked_repository(folder: Path) -> Path:
    """A folder in which the repository's files are, and new ones go beside them."""
    (folder / "bundles").mkdir()
    for file in (*(REPO / "bundles").iterdir(), *(REPO / name for name in ("scripts", "tests"))):
        if file.is_dir():
            (folder / file.relative_to(REPO)).symlink_to(file)
    return folder


def do(command: str) -> None:
    """One command line, in this process where it is Python's."""
    words = shlex.split(command)
    if words[0] != "python":
        subprocess.run(words, check=True)
        return
    sys.argv = words[1 + (words[1] == "-m") :]
    start = runpy.run_module if words[1] == "-m" else runpy.run_path
    start(sys.argv[0], run_name="__main__")


@pytest.fixture(scope="module")
def tried(tmp_path_factory) -> Path:
    """A folder in which everything has been done, in the order of the document."""
    folder = linked_repository(tmp_path_factory.mktemp("repository"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [])
        patch.setattr(packaging, "REPO", folder)  # whose bundles are packaged
        for command in block_commands(DOCUMENT):
            if not command.startswith("export"):  # pytest has seen to it
                do(command)
    return folder


def test_every_example_is_named():
    examples = [file for file in EXAMPLES.iterdir() if file.suffix in (".py", ".yaml")]
    assert len(examples) > 10
    assert [file.name for file in examples if f"tests/examples/{file.name}" not in DOCUMENT] == []
    assert len(DOCUMENT.splitlines()) <= 200


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_scenario_writes_labelled_roots(tried):
    for domain in DOMAINS:
        for split, count in (("training", 3), ("validation", 1), ("test", 1)):
            items = datalist(tried / "outputs/lesions" / domain, split)
            assert len(items) == count and all("label" in item for item in items)


@pytest.mark.parametrize(
    ("run", "tensor"), [("attention", ".attention."), ("coordinates", ".unet."), ("size", "anatomy_encoder.")]
)
def test_networks_and_the_loss_train_and_export(tried, run, tensor):
    table = rows(tried / "outputs" / run / "metrics.csv")
    assert [row["update"] for row in table] == ["2", "4"] and float(table[1]["dice"]) > 0
    assert any(tensor in name for name in load_tensors(tried / "outputs" / run / "model.pt")["model"])
    assert all(float(row["size"]) > 0 for row in table) if run == "size" else "size" not in table[0]


def test_the_other_network_segments(tried):
    assert (tried / "outputs/attention/t1_test_001_seg.nii.gz").is_file()


def test_the_baseline_trains_on_the_other_loss(tried):
    losses = [float(row["loss"]) for row in rows(tried / "outputs/tversky/metrics.csv")]
    assert all(0 < loss < 1 for loss in losses)  # Dice with cross entropy starts above 1
    bundle = rows(tried / "outputs/supervised/metrics.csv")
    assert float(bundle[0]["loss"]) > 1


@pytest.mark.parametrize(
    ("run", "model"), [("equal", "segmentation"), ("supervised-federation", "supervised")]
)
def test_federations_run_their_rounds(tried, run, model):
    folder = tried / "outputs" / run
    assert [row["round"] for row in rows(folder / "rounds.csv")][-1] == "2"
    assert load_tensors(folder / f"{model}.pt")["model"]
    assert ("EqualClients" in (folder / "federation.yaml").read_text()) == (run == "equal")


def test_the_bundle_segments_scores_and_is_packaged(tried):
    scores = rows(tried / "outputs/supervised/scores.csv")
    assert {row["case"] for row in scores} == {"flair_test_001"}
    with zipfile.ZipFile(next((tried / "outputs/packages").glob("supervised_v*.zip"))) as package:
        assert "supervised/shared_components/data/slices.py" in package.namelist()
        metadata = json.loads(package.read("supervised/configs/metadata.json"))
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "lesion",
    }
