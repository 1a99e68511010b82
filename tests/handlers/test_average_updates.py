from __future__ import annotations

import torch
from ignite.engine import Engine, Events
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


def test_own_updates_count_where_the_counter_is_kept():
    """As a federation that protects updates does at each round."""
    ends = []
    for kept in (False, True):
        network = AveragedNetwork(nn.Linear(1, 1, bias=False), average=0.9)

        def update(engine, batch, network=network):
            with torch.no_grad():
                network.trained.weight.fill_(float(batch + 2 * engine.state.epoch))

        engine = Engine(update)
        AverageUpdates(network).attach(engine)
        if kept:
            engine.add_event_handler(
                Events.EPOCH_STARTED, lambda _, network=network: network.average.n_averaged.zero_()
            )
        engine.run([0.0, 1.0], max_epochs=3)
        ends.append(float(network.result.weight))
    assert ends[0] == ends[1]
