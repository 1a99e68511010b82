from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from shared_components.benchmarks import SCRIPTS
from shared_components.benchmarks.quality_scenarios import FEW, SCENARIOS, write_few
from shared_components.data.client_root import ClientRoot
from shared_components.data.phantoms import make_vessels
from shared_components.errors import InputError
from shared_components.federation.federation_file import federation_from
from shared_components.study.plan import check_settings

BUNDLE = str(Path("bundles/factory").resolve())


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_federation_of_a_scenario_is_sound(name, smoke, tmp_path):
    values = SCENARIOS[name].values(tmp_path, seed=3, smoke=smoke)
    for client in values["clients"].values():
        Path(client["data_root"]).mkdir()
    federation = federation_from(
        {**values, "bundle": BUNDLE, "output_dir": str(tmp_path / "out")}, tmp_path / "file.yaml"
    )
    check_settings(federation)
    assert federation.seed == 3 and "source" not in federation.study
    assert federation.study["matrix"] is False
    assert federation.overrides["image_size"] == 32 if smoke else federation.rounds > 100


def test_whose_labels_there_are():
    spine = SCENARIOS["spine"]
    assert spine.chosen(None) == ("ceitec",) and spine.chosen(["ucl", "nwu"]) == ("ucl", "nwu")
    with pytest.raises(InputError, match=r"expected some of mra, joined by \+, found 'octa'"):
        SCENARIOS["vessels"].chosen(["octa"])


def test_domains_of_a_file_are_those_of_its_scenario():
    for name in ("spine", "vessels"):
        values = yaml.safe_load((SCRIPTS / f"{name}.yaml").read_text(encoding="utf-8"))
        roots = {Path(client["data_root"]).name for client in values["clients"].values()}
        assert roots == set(values["domains"]) >= set(SCENARIOS[name].labelled)


def test_few_labels_are_one_slice_in_each_of_the_first_volumes(tmp_path):
    make_vessels(tmp_path / "data", subjects=(2, 1, 1), coarseness=4.0, label_all=True, workers=1)
    labelled = tmp_path / "data" / "venography_labelled"
    root = write_few(labelled, tmp_path / "few", 1)
    content = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    first, second = content["training"]
    assert len(first["annotated"]) == 1 and "label" in first and set(second) == {"image"}
    assert content["validation"] == content["test"] == [] and content["domain"] == "venography"
    made = ClientRoot.load(root)
    assert len(made.items("training", True)) == 1 and len(made.items("training", False)) == 1


def test_the_only_training_volume_has_a_labelled_slice_too(tmp_path):
    make_vessels(tmp_path / "data", subjects=(1, 1, 1), coarseness=4.0, label_all=True, workers=1)
    root = write_few(tmp_path / "data" / "venography_labelled", tmp_path / "few", FEW)
    (only,) = json.loads((root / "dataset.json").read_text(encoding="utf-8"))["training"]
    assert len(only["annotated"]) == 1 and len(ClientRoot.load(root).items("training", True)) == 1


def test_each_scenario_says_which_slices_are_the_few():
    said = {name: scenario.few_slices for name, scenario in SCENARIOS.items()}
    assert said["spine"] == "3 slices of each test volume, which the test leaves out"
    assert said["head"] == said["vessels"] and said["head"].startswith(
        "the middle one of each of the first 3"
    )
