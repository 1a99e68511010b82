"""Settings for every test: one thread (the same sums on every machine), no global seed left over, signals as usual."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from shared_components.interrupts import SIGNALS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="run the tests marked thorough, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave out what is thorough, unless it is asked for, or named alone."""
    items.sort(key=lambda item: "nvflare" not in item.path.parts)
    named = any("::" in argument for argument in config.args)
    if config.getoption("--thorough") or named:
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True, scope="session")
def _signals_of_a_terminal():
    """A shell starts what it runs in the background with some signals ignored, and children inherit that."""
    usual = {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, usual.get(number, signal.SIG_DFL))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _one_thread_and_fresh_random_state():
    torch.set_num_threads(1)
    torch.manual_seed(0)
