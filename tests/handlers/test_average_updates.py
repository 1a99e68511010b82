from __future__ import annotations

import torch
from ignite.engine import Engine
from torch import nn

from shared_components.handlers import AverageUpdates
from shared_components.networks.weight_average import AveragedNetwork


def test_an_average_follows_after_every_update():
    network = AveragedNetwork(nn.Linear(1, 1, bias=False), average=0.9)

    def update(engine, batch):
        with torch.no_grad():
            network.trained.weight.fill_(float(batch))

    engine = Engine(update)
    AverageUpdates(network).attach(engine)
    engine.run([1.0, 2.0], max_epochs=1)
    assert float(network.result.weight) == torch.tensor(1.9) and int(network.average.n_averaged) == 2
