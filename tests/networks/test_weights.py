from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.weights import export_model, with_weights


def test_weights_come_back_with_their_description(tmp_path):
    network = torch.nn.Linear(2, 3)
    path = export_model(network, tmp_path / "new" / "model.pt", {"labels": {0: "rest"}, "spacing": None})
    content = torch.load(path, weights_only=True)
    assert content["description"] == {"labels": {0: "rest"}, "spacing": None}
    loaded = with_weights(torch.nn.Linear(2, 3), path)
    assert torch.equal(loaded.weight, network.weight) and torch.equal(loaded.bias, network.bias)


@pytest.mark.parametrize(
    "settings", [{"spacing": 4.5}, {"labels": {0: "rest", 1: "tumour"}}, {"spacing": [6.0, 4.5]}]
)
def test_weights_of_another_training_are_refused(tmp_path, settings):
    description = {"labels": {0: "rest", 1: "brain"}, "spacing": 6.0}
    path = export_model(torch.nn.Linear(2, 3), tmp_path / "model.pt", description)
    with pytest.raises(
        InputError, match=rf"model\.pt: trained with {next(iter(settings))} .*, but this config has"
    ):
        with_weights(torch.nn.Linear(2, 3), path, settings=settings)
    same = {"labels": {"0": "rest", "1": "brain"}, "spacing": [6.0, 6.0], "orientation": "RAS"}
    assert with_weights(torch.nn.Linear(2, 3), path, settings=same)
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "bare.pt")
    assert with_weights(torch.nn.Linear(2, 3), tmp_path / "bare.pt", settings=settings), "it says nothing"


def test_a_file_does_not_follow_later_training(tmp_path):
    network = torch.nn.Linear(1, 1)
    path = export_model(network, tmp_path / "model.pt")
    before = network.weight.item()
    with torch.no_grad():
        network.weight += 1
    assert with_weights(torch.nn.Linear(1, 1), path).weight.item() == before


def test_no_path_leaves_the_network_as_built():
    network = torch.nn.Linear(1, 1)
    before = network.weight.item()
    assert with_weights(network, None) is network and network.weight.item() == before


def test_a_part_of_a_file_by_key_and_prefix(tmp_path):
    whole = torch.nn.ModuleDict({"critic": torch.nn.Linear(2, 1), "other": torch.nn.Linear(3, 3)})
    torch.save({"network": whole.state_dict()}, tmp_path / "checkpoint.pt")
    part = with_weights(torch.nn.Linear(2, 1), tmp_path / "checkpoint.pt", key="network", prefix="critic.")
    assert torch.equal(part.weight, whole["critic"].weight)


def test_the_model_zoos_bare_weights_are_read_too(tmp_path):
    network = torch.nn.Linear(2, 1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    assert torch.equal(with_weights(torch.nn.Linear(2, 1), tmp_path / "model.pt").weight, network.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"m\.pt: expected a file of tensors, found none"),
        ({"weights": {}}, r"m\.pt: expected weights under 'model', found \['weights'\]"),
        ({"model": 3}, r"m\.pt: expected weights under 'model', found \['model'\]"),
        ({"model": {"weight": torch.zeros(1, 2).char(), "bias": torch.zeros(1)}}, r"found \(1, 2\) int8"),
        ({"model": {"weight": torch.zeros(1, 2).cfloat(), "bias": torch.zeros(1)}}, "found .* complex64"),
        (
            {"model": {"weight": torch.zeros(1, 2), "bias": torch.tensor([float("nan")])}},
            "'model.bias' holds NaN",
        ),
        ({"weight": torch.zeros(1, 2).char(), "bias": torch.zeros(1)}, r"found \(1, 2\) int8"),
        ({"model": {"weight": torch.zeros(1, 5)}}, r"m\.pt: its weights do not fit the configured network"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path, content, message):
    if content is not None:
        torch.save(content, tmp_path / "m.pt")
    with pytest.raises(InputError, match=message) as caught:
        with_weights(torch.nn.Linear(2, 1), tmp_path / "m.pt")
    assert "\n" not in str(caught.value)


def test_weights_of_16_bits_are_taken_as_they_are(tmp_path):
    network = torch.nn.Linear(2, 1).half()
    path = export_model(network, tmp_path / "model.pt")
    loaded = with_weights(torch.nn.Linear(2, 1), path)
    assert loaded.weight.dtype == torch.float32
    assert torch.equal(loaded.weight, network.weight.float())


def test_weights_that_are_not_finite_are_not_exported(tmp_path):
    network = torch.nn.Linear(1, 1)
    path = export_model(network, tmp_path / "model.pt")
    kept = path.read_bytes()
    with torch.no_grad():
        network.bias.fill_(float("nan"))
    with pytest.raises(InputError, match=r"model\.pt: not written, since 'model\.bias' holds NaN"):
        export_model(network, path)
    assert path.read_bytes() == kept
