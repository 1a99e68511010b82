from __future__ import annotations

import random

import numpy as np
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
