from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from shared_components.engines.update_trainer import LossAverages


def test_means_per_epoch_and_lazy_terms_over_their_occurrences():
    def iteration(engine, batch):
        lazy = {"r1": torch.tensor(float(batch))} if batch % 2 else {}
        return {"loss": {"d": torch.tensor(float(batch)), **lazy}}

    engine = Engine(iteration)
    LossAverages().attach(engine)
    engine.run([1, 2, 3, 6], max_epochs=2)
    assert engine.state.metrics == {"d": pytest.approx(3.0), "r1": pytest.approx(2.0)}


def test_a_single_loss_is_called_loss():
    engine = Engine(lambda _, batch: {"loss": torch.tensor(batch)})
    LossAverages().attach(engine)
    engine.run([1.0, 2.0])
    assert engine.state.metrics == {"loss": pytest.approx(1.5)}
