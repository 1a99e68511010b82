from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from shared_components.errors import InputError
from shared_components.inferers import ModelLoader


def load(path, network) -> None:
    engine = Engine(lambda engine, batch: None)
    ModelLoader(str(path), {"model": network}).attach(engine)
    engine.run([0])


def test_weights_are_loaded_when_the_engine_starts(tmp_path):
    source, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({"model": source.state_dict()}, tmp_path / "model.pt")
    load(tmp_path / "model.pt", network)
    assert torch.equal(network.weight, source.weight)


def test_the_model_zoos_bare_weights_are_loaded_too(tmp_path):
    source, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    load(tmp_path / "model.pt", network)
    assert torch.equal(network.weight, source.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": nn.Linear(4, 2).state_dict()},
            r"do not fit.*'weight': expected \(2, 3\) float32, found \(2, 4\) float32",
        ),
        ({"model": {}}, r"do not fit.*'weight': expected \(2, 3\) float32, found none"),
        (
            {"model": nn.Linear(3, 2).state_dict() | {"extra": torch.ones(1)}},
            r"'extra': expected none, found \(1,\) float32",
        ),
        ({"network": {}}, r"expected a key 'model', found \['network'\]"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_loaded(tmp_path, content, message):
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "model.pt", network)
    assert torch.equal(network.weight, before)


def test_a_file_that_runs_code_is_refused(tmp_path):
    torch.save({"model": nn.Linear(3, 2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: expected a file of tensors"):
        load(tmp_path / "model.pt", nn.Linear(3, 2))
