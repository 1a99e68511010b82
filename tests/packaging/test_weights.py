from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.ensemble import ensemble_of
from shared_components.networks.factory import export_generator, factory_description
from shared_components.networks.weights import export_model, with_weights
from shared_components.packaging.settings import merged_configs, read_overrides
from shared_components.packaging.weights import (
    for_members,
    is_factory,
    of_trained_domains,
    parsed,
    write_weights,
)
from tests.packaging.small import BUNDLES, DOMAINS, LABELS, NAMES, settings


def inference(bundle: str, *more) -> dict:
    overrides = read_overrides([*settings(bundle), *more])
    return merged_configs(BUNDLES / bundle / "configs", overrides)["inference"]


def test_a_network_gets_the_bare_state_dict_and_a_factory_its_description(models, tmp_path):
    write_weights(inference("segmentation"), models["segmentation"], tmp_path / "model.pt")
    found, trained = (
        torch.load(f, weights_only=True) for f in (tmp_path / "model.pt", models["segmentation"])
    )
    assert all(torch.equal(found[name], tensor) for name, tensor in trained["model"].items())
    write_weights(inference("factory"), models["factory"], tmp_path / "factory.pt")
    assert factory_description(tmp_path / "factory.pt") == factory_description(models["factory"])
    assert [name for name in NAMES if is_factory(inference(name))] == ["factory"]


def test_a_package_has_the_domains_that_its_weights_were_trained_on(models):
    known = {"domains": ["t1", "ct", "t2"], "held_out": None}
    for config in (known, known | {"held_out": "ct"}, {"domains": ["t1", "t2"], "held_out": None}):
        found = of_trained_domains(config, models["segmentation"])
        assert found == {"domains": ["t1", "t2"], "held_out": None}
    other = {"domains": ["a", "t1"], "held_out": None}  # refused later
    assert of_trained_domains(other, models["segmentation"]) == other
    assert of_trained_domains({"domains": ["a"]}, models["factory"]) == {"domains": ["a"]}


@pytest.mark.parametrize(("trained", "packed"), [([5, 4], [5.0, 4.0]), (4.0, [4, 4]), ([4.0, 4.0], 4)])
def test_a_spacing_may_be_written_as_one_or_two_numbers(tmp_path, trained, packed):
    generator = parsed(inference("factory"), "generator_def")
    file = export_generator(generator, tmp_path / "factory.pt", DOMAINS, LABELS, trained, "RAS")
    write_weights(inference("factory", {"spacing": packed}), file, tmp_path / "model.pt")
    assert factory_description(tmp_path / "model.pt") == factory_description(file)
    with pytest.raises(InputError, match=r"trained with spacing .* has \[3, 2\]"):
        write_weights(inference("factory", {"spacing": [3, 2]}), file, tmp_path / "other.pt")


def test_the_bare_state_dict_can_be_packed_again(models, tmp_path):
    config = inference("segmentation")
    write_weights(config, models["segmentation"], tmp_path / "one" / "model.pt")
    write_weights(config, tmp_path / "one" / "model.pt", tmp_path / "two" / "model.pt")
    assert (tmp_path / "one" / "model.pt").read_bytes() == (tmp_path / "two" / "model.pt").read_bytes()


@pytest.mark.parametrize(
    ("bundle", "change", "message"),
    [
        ("segmentation", {"encoder_channels": [4, 8, 16]}, "its weights do not fit the configured network"),
        ("segmentation", {"spacing": 3.0}, r"trained with spacing 4\.0, but the package's config has 3\.0"),
        ("segmentation", {"labels": {0: "background", 1: "liver"}}, "trained with labels .*1: 'brain'"),
        ("segmentation", {"domains": ["a", "b"]}, r"trained with domains \['t1', 't2'\]"),
        ("adaptation", {"orientation": "LPS"}, "trained with orientation RAS, .* has LPS; .* --config"),
        ("adaptation", {"labels": dict(enumerate("abc"))}, "its weights do not fit"),
        ("factory", {"z_dim": 8}, r"z_dim: expected 8, found 16\); give the settings of its training"),
        ("factory", {"domains": ["t2", "t1"]}, r"trained with domains \['t1', 't2'\]"),
        ("factory", {"domain": "ct"}, r"expected one of the factory's domains \['t1', 't2'\], found 'ct'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(models, tmp_path, bundle, change, message):
    with pytest.raises(InputError, match=message) as caught:
        write_weights(inference(bundle, change), models[bundle], tmp_path / "model.pt")
    assert "\n" not in str(caught.value) and not (tmp_path / "model.pt").exists()


def test_labels_that_a_file_names_in_a_way_of_its_own_are_refused_too(models, tmp_path):
    content = torch.load(models["segmentation"], weights_only=True)
    content["description"]["labels"] = {"first": "background"}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(
        InputError, match=r"model\.pt: trained with labels {'first': 'background'}, but the pack"
    ):
        write_weights(inference("segmentation"), tmp_path / "model.pt", tmp_path / "out.pt")


@pytest.mark.parametrize("content", [b"text", None])
def test_what_is_no_file_of_weights_is_refused(tmp_path, content):
    if content:
        (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pt: expected a file of tensors"):
        write_weights(inference("segmentation"), tmp_path / "model.pt", tmp_path / "out.pt")


@pytest.mark.parametrize("bundle", ["segmentation", "factory"])
def test_torchscript_holds_metadata_and_config_but_no_path_of_this_machine(packages, bundle):
    folder = packages[bundle].folder
    with zipfile.ZipFile(folder / "models" / "model.ts") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert json.loads(content["model/extra/inference.json"]) == json.loads(
        (folder / "configs/inference.json").read_text()
    )
    assert json.loads(content["model/extra/metadata.json"])["version"]
    here = str(Path(torch.__file__).parent).encode()
    assert not any(here in value for value in content.values())


def test_values_in_place_of_the_configs():
    assert parsed({"size": 2, "double": "$2 * @size"}, "size", "double", size=5) == [5, 10]
    with pytest.raises(RuntimeError, match="Failed to evaluate"):  # a fault of the config, not of the user
        parsed({"broken": "$1 / 0"}, "broken")
    assert (DOMAINS, LABELS[1]) == (["t1", "t2"], "brain")


def test_two_that_answer_together_are_two_in_the_package_s_config(models, tmp_path):
    one = parsed(inference("adaptation"), "network_def")
    both = export_model(ensemble_of(one, [models["adaptation"]] * 2), tmp_path / "both.pt")
    config = for_members(inference("adaptation"), both)
    write_weights(config, both, tmp_path / "model.pt")
    with_weights(parsed(config, "network_def"), tmp_path / "model.pt")
    assert for_members(inference("adaptation"), models["adaptation"]) == inference("adaptation")
