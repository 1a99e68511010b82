"""The ready federation files of a first factory, of a hospital that joins it and of its refinement."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared_components.federation.federation_file import read_federation
from shared_components.study.plan import plan
from tests.bundles.tiny import BUNDLES, make_root, workflow

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A folder from which the files can be run, but for the first factory, which is a file alone."""
    folder = tmp_path_factory.mktemp("going_on")
    (folder / "bundles").symlink_to(BUNDLES)
    roots = {name: folder / "outputs/first-factory/data" / name for name in ("t1", "t2", "pet")}
    for seed, (name, root) in enumerate(roots.items()):
        make_root(root, name, seed=seed)
    workflow(
        "factory", "train.yaml", dataset_dir=[str(roots["t1"]), str(roots["t2"])], max_epochs=1, domains=["t1", "t2"],
        output_dir=folder / "outputs/first-factory/run",
    ).run()  # fmt: skip
    return folder


@pytest.mark.parametrize("name", ["first_factory", "newcomer", "refinement"])
def test_the_file_can_run_with_sizes_of_a_test(name, start, monkeypatch):
    monkeypatch.chdir(start)
    values = yaml.safe_load((SCRIPTS / f"{name}.yaml").read_text())
    values["configs"] = ["common.yaml", "train.yaml", "smoke.yaml"]
    values["overrides"] |= {"spacing": 4.0}
    if name == "refinement":
        values["start"] = f"{values['start']}/factory.pt"
    (start / f"{name}.yaml").write_text(yaml.safe_dump(values))
    told = plan(read_federation(start / f"{name}.yaml"), study=False)
    assert f"{values['rounds']} rounds of 6 updates" in told


def test_the_newcomer_takes_a_quarter_of_the_updates_and_stands_behind_the_others():
    first, newcomer, refinement = (
        yaml.safe_load((SCRIPTS / f"{name}.yaml").read_text())
        for name in ("first_factory", "newcomer", "refinement")
    )
    assert newcomer["domains"][: len(first["domains"])] == first["domains"] == refinement["domains"]
    assert newcomer["start"] == f"{first['output_dir']}/factory.pt"
    assert refinement["start"] == first["output_dir"]
    assert newcomer["rounds"] * 4 == first["rounds"]
    assert {client["domain"] for client in newcomer["clients"].values()} == {"pet"}
