from __future__ import annotations

import pytest
import torch
from ignite.engine import Events

from shared_components.engines.random_state import RandomState
from shared_components.errors import InputError
from shared_components.handlers.checkpoints import attach_checkpoints
from tests.bundles.tiny import different
from tests.handlers.engines import trainer
from tests.test_files import flipped


def state(engine) -> dict:
    return {"network": engine.network, "optimizer": engine.optimizer, "random_state": RandomState()}


def saved(path) -> dict:
    return torch.load(path, weights_only=True)


def stopped_at(engine, update: int) -> None:
    def stop():
        raise InterruptedError

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=update), stop)
    with pytest.raises(InterruptedError):
        engine.run()


def test_killed_and_resumed_equals_unbroken(tmp_path):
    whole = trainer(max_epochs=4)
    expected = attach_checkpoints(whole, state(whole), tmp_path / "whole")
    whole.run()
    first = trainer(max_epochs=4)
    attach_checkpoints(first, state(first), tmp_path / "part", every=2)
    stopped_at(first, 7)
    second = trainer(max_epochs=4)
    found = attach_checkpoints(second, state(second), tmp_path / "part", every=2, resume=True)
    second.run()
    assert saved(found)["trainer"]["iteration"] == 8
    assert different(saved(expected), saved(found)) == []


def test_saves_every_few_epochs_and_at_the_end(tmp_path):
    engine = trainer(max_epochs=5)
    path = attach_checkpoints(engine, state(engine), tmp_path, every=2)
    updates = []

    @engine.on(Events.EPOCH_COMPLETED)
    def look():
        updates.append(saved(path)["trainer"]["iteration"] if path.is_file() else 0)

    engine.run()
    assert updates == [0, 4, 4, 8, 8]
    assert saved(path)["trainer"]["iteration"] == 10


def test_checkpoints_every_no_epochs_are_refused(tmp_path):
    with pytest.raises(InputError, match="checkpoint_every: expected at least 1 epoch, found 0"):
        attach_checkpoints(trainer(), {}, tmp_path, every=0)


def test_resuming_nothing_is_refused(tmp_path):
    engine = trainer()
    with pytest.raises(InputError, match=r"checkpoint\.pt: expected a checkpoint.*resume: false"):
        attach_checkpoints(engine, state(engine), tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path):
    engine = trainer(max_epochs=1)
    path = attach_checkpoints(engine, state(engine), tmp_path)
    engine.run()
    whole = path.read_bytes()
    for damaged in flipped(whole, 20):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoint\.pt: expected a file of tensors written by"):
            attach_checkpoints(engine, state(engine), tmp_path, resume=True)
