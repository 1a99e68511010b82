from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from shared_components.engines.saved_state import RandomState
from shared_components.files import load_tensors, save_tensors


def test_a_saved_state_repeats_the_draws_of_torch_numpy_and_python(tmp_path):
    state = RandomState()
    random.gauss(0, 1)  # leaves a second value in Python's generator
    save_tensors(tmp_path / "state.pt", {"random": state.state_dict()})
    draws = [(torch.rand(2).tolist(), np.random.rand(), random.gauss(0, 1)) for _ in range(2)]
    state.load_state_dict(load_tensors(tmp_path / "state.pt")["random"])
    assert [(torch.rand(2).tolist(), np.random.rand(), random.gauss(0, 1)) for _ in range(2)] == draws


@pytest.mark.parametrize(("saved", "there"), [(4, 1), (1, 2), (2, 0)])
def test_of_gpus_as_many_are_restored_as_there_are(saved, there, monkeypatch):
    states = [torch.tensor([number], dtype=torch.uint8) for number in range(saved)]
    restored = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    state = RandomState().state_dict()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: restored.update({device: state.item()})
    )
    RandomState().load_state_dict(state)
    assert restored == {number: number for number in range(min(saved, there))}
