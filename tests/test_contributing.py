"""What CONTRIBUTING.md says is done as it stands there, in a copy of the repository."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shared_components.data import datalist
from shared_components.files import load_tensors
from tests.contributing import Block, read_blocks

REPO = Path(__file__).parents[1]
DOCUMENT = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = read_blocks(DOCUMENT)
COPIED = (
    *("bundles", "scripts", "shared_components", "tests"),
    *("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "requirements.txt"),
)
DOMAINS = ("t1", "t2", "flair")
USED = "used.json"


def copy_repository(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "outputs")
    for path in (REPO / name for name in COPIED):
        copy = shutil.copyfile if path.is_file() else lambda *paths: shutil.copytree(*paths, ignore=ignored)
        copy(path, folder / path.name)
    return folder


def try_document(folder: Path, document: str) -> subprocess.CompletedProcess[str]:
    """Follow a document in a folder that holds the repository's files, or stands for it."""
    (folder / "CONTRIBUTING.md").write_text(document, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment = inherited | {
        "PYTHONPATH": str(folder),
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }
    command = [sys.executable, "-W", "ignore", REPO / "tests" / "contributing.py", USED]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")


def unused(folder: Path, blocks: list[Block]) -> list[str]:
    """Files of blocks that nothing imported or read."""
    used = json.loads((folder / USED).read_text(encoding="utf-8"))
    return [block.path for block in blocks if block.path is not None and block.path not in used]


@pytest.fixture(scope="module")
def tried(tmp_path_factory) -> Path:
    """A copy of the repository in which everything has been done."""
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    ended = try_document(folder, DOCUMENT)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_file_in_it_is_used(tried):
    assert unused(tried, BLOCKS) == []
    assert {block.language for block in BLOCKS} == {"bash", "diff", "python", "yaml"}


def test_a_file_that_nothing_uses_and_a_failing_command_are_noticed(tmp_path):
    blocks = (
        "`a/b.yaml`\n\n```yaml\nx: 1\n```\n\n`c.yaml`\n\n```yaml\n```\n\n```bash\ncp c.yaml d.yaml\n```\n"
    )
    assert try_document(tmp_path, blocks).returncode == 0
    assert (tmp_path / "a/b.yaml").read_text() == "x: 1\n" and (tmp_path / "d.yaml").is_file()
    assert unused(tmp_path, read_blocks(blocks)) == ["a/b.yaml", "c.yaml"]
    assert try_document(tmp_path, "```bash\ncp missing.yaml e.yaml\n```\n").returncode != 0


@pytest.mark.parametrize(
    "block", ["```yaml\nx: 1\n```\n", "```bash\nls\n``` \n", "`a.sh`\n\n```bash\nls\n```\n"]
)
def test_every_block_must_be_a_named_file_a_change_or_commands(block):
    with pytest.raises(ValueError, match="expected"):
        read_blocks(block)


def test_its_code_passes_the_lint(tried):
    written = {block.path for block in BLOCKS if block.language == "python"} | {"scripts/phantoms.py"}
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, *sorted(written)]
        ended = subprocess.run(command, cwd=tried, capture_output=True, encoding="utf-8")
        assert ended.returncode == 0, ended.stdout


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
    assert [row["update"] for row in table] == ["2", "4"] and float(table[1]["meta_test"]) > 0
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
        assert "supervised/shared_components/data/phantoms/lesions.py" in package.namelist()
        metadata = json.loads(package.read("supervised/configs/metadata.json"))
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "lesion",
    }


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", DOCUMENT)
    headings = {
        "#" + re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^#+ (.+)$", DOCUMENT, re.M)
    }
    assert [link for link in links if link not in headings and not (REPO / link).exists()] == []
