"""Settings for every test: one thread (the same sums on every machine) and no global seed left over."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_fresh_random_state():
    torch.set_num_threads(1)
    torch.manual_seed(0)
