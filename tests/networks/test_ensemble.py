"""Networks that answer together, and the file that tells how many they are."""

from __future__ import annotations

import pytest
import torch
from monai.networks import convert_to_torchscript
from torch import nn

from shared_components.errors import InputError
from shared_components.networks.ensemble import Ensemble, ensemble_of, fitting, members_of
from shared_components.networks.weights import export_model, with_weights


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(1, 3, 3, padding=1)


def test_a_file_of_two_is_read_by_two_of_the_kind(tmp_path):
    paths = [export_model(network(seed), tmp_path / f"{seed}.pt") for seed in (1, 2)]
    both = ensemble_of(network(0), paths)
    path = export_model(both, tmp_path / "both.pt")
    assert (members_of(path), members_of(paths[0])) == (2, 1)
    images = torch.rand(2, 1, 8, 8)
    found = with_weights(fitting(network(0), path), path)(images).softmax(1)
    alone = [with_weights(network(0), path)(images).softmax(1) for path in paths]
    assert torch.allclose(found, (alone[0] + alone[1]) / 2, atol=1e-6)
    bare = tmp_path / "bare.pt"
    torch.save(both.state_dict(), bare)
    assert members_of(bare) == 2


def test_two_that_answer_together_are_no_one_model(tmp_path):
    path = export_model(Ensemble([network(1), network(2)]), tmp_path / "both.pt")
    with pytest.raises(
        InputError, match=r"both\.pt: holds 2 models that answer together, where one is wanted"
    ):
        with_weights(network(0), path)


def test_one_network_stays_itself(tmp_path):
    path = export_model(network(1), tmp_path / "one.pt")
    one, both = network(0), Ensemble([network(1), network(2)])
    assert (
        fitting(one, path) is one and fitting(one, tmp_path / "gone.pt") is one and fitting(one, None) is one
    )
    assert fitting(both, export_model(both, tmp_path / "both.pt")) is both


def test_torchscript_answers_the_same():
    both, images = Ensemble([network(1), network(2)]).eval(), torch.rand(1, 1, 8, 8)
    assert torch.allclose(convert_to_torchscript(both)(images), both(images), atol=1e-6)
