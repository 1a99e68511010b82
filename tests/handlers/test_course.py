from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from shared_components.errors import InputError
from shared_components.handlers import AverageUpdates, FiniteTraining, MetricsTable, attach_checkpoints
from shared_components.handlers.course import FallingRates
from shared_components.networks.weight_average import AveragedNetwork
from tests.handlers.engines import trainer


def diverging(update: int, what: str, handlers=(), max_epochs: int = 3):
    """A trainer whose loss or weight becomes NaN at an update; two updates an epoch."""
    engine = trainer([FiniteTraining("factory", ["generator_lr", "critic_lr"]), *handlers], max_epochs)

    def spoil(loss):
        return loss * float("nan") if what == "loss" and engine.state.iteration == update else loss

    criterion = engine.loss_function
    engine.loss_function = lambda *arguments: spoil(criterion(*arguments))

    @engine.on(Events.ITERATION_COMPLETED(once=update))
    def spoil_weight():
        if what == "weight":
            with torch.no_grad():
                engine.network.weight.fill_(float("-inf"))

    return engine


@pytest.mark.parametrize(
    ("update", "what", "seen"),
    [
        (3, "loss", "update 3: the loss 'loss'"),
        (5, "loss", "update 5: the loss 'loss'"),
        (4, "weight", "update 4: the weight 'weight'"),
    ],
)
def test_training_that_diverges_ends_at_that_update_and_keeps_what_was_written(tmp_path, update, what, seen):
    engine = diverging(update, what, [MetricsTable(tmp_path / "metrics.csv")])
    path = attach_checkpoints(engine, {"network": engine.network}, tmp_path)
    with pytest.raises(InputError) as caught:
        engine.run()
    assert str(caught.value) == (
        f"factory, {seen} is NaN or infinite, training diverged; what was written before it is kept: "
        "lower generator_lr or critic_lr and start over (a checkpoint has the rates of its run), or look at the images"
    )
    epoch = (update - 1) // 2  # the last one that was whole
    assert torch.load(path, weights_only=True)["trainer"]["iteration"] == 2 * epoch
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + epoch
    assert engine.state.iteration == update


def test_nothing_is_written_of_a_training_that_diverges_at_once(tmp_path):
    engine = diverging(1, "loss")
    path = attach_checkpoints(engine, {"network": engine.network}, tmp_path)
    with pytest.raises(InputError, match="factory, update 1: the loss"):
        engine.run()
    assert not path.exists()


def test_away_from_the_cpu_the_update_is_named_at_the_end_of_its_epoch():
    """A meta tensor stands for a loss on a device that is waited for at the end only."""
    losses = iter([1.0, float("nan"), 1.0, 1.0])
    engine = Engine(
        lambda engine, batch: {"loss": {"a": torch.tensor(next(losses)), "b": torch.zeros((), device="meta")}}
    )
    engine.network = torch.nn.Linear(1, 1)
    FiniteTraining("factory", ["rate"]).attach(engine)
    with pytest.raises(InputError, match="factory, update 2: the loss 'a' is NaN"):
        engine.run(range(4))
    assert engine.state.iteration == 4


def test_a_training_without_losses_or_of_samples_is_left_alone():
    outputs = iter([None, [], [{"loss": 1.0}, {"loss": 2.0}], {"pred": 1}])
    engine = Engine(lambda engine, batch: next(outputs))
    engine.network = torch.nn.Linear(1, 1)
    FiniteTraining("stock", ["rate"]).attach(engine)
    assert engine.run(range(4)).iteration == 4


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


def adam(rate: float) -> torch.optim.Adam:
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def rates(
    optimizers, final: float, epochs: int, first: int = 0, rounds=None, cosine: bool = False
) -> list[list[float]]:
    """Of each epoch after ``first``, the rate of each optimiser."""
    engine, seen = Engine(lambda *_: None), []
    FallingRates(optimizers, final, epochs, cosine).attach(engine)
    if rounds:
        engine.add_event_handler(
            Events.STARTED | Events.EPOCH_COMPLETED, lambda e: setattr(e.state, "round", rounds[len(seen)])
        )
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda _: seen.append([o.param_groups[0]["lr"] for o in optimizers])
    )
    if first:
        engine.load_state_dict({"epoch": first, "max_epochs": first, "epoch_length": 1})
    engine.run([0], max_epochs=first + len(rounds) - 1 if rounds else epochs, epoch_length=1)
    return seen


def test_rates_fall_linearly_to_their_share_which_they_would_have_after_the_last_epoch():
    found = rates([adam(0.4), adam(0.1)], final=0.5, epochs=4)
    assert [one for one, _ in found] == pytest.approx([0.4, 0.35, 0.3, 0.25])
    assert [other for _, other in found] == pytest.approx([0.1, 0.0875, 0.075, 0.0625])


def test_rates_along_a_cosine_are_those_of_torch():
    optimizer = adam(0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5, eta_min=0.1)
    expected = []
    for _ in range(5):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    found = rates([adam(0.4)], final=0.25, epochs=5, cosine=True)
    assert [rate for (rate,) in found] == pytest.approx(expected)


def test_a_training_that_goes_on_with_more_epochs_has_the_rates_of_the_longer_one():
    before, after = adam(1.0), adam(1.0)
    assert rates([before], 0.0, 2) == [[1.0], [0.5]]
    after.load_state_dict(before.state_dict())
    assert rates([after], 0.0, 4, first=2) == [[0.5], [0.25]]


def test_a_client_that_was_not_drawn_in_each_round_has_the_rate_of_the_round():
    assert rates([adam(1.0)], 0.0, 8, rounds=[2, 5, 8, 8]) == [[1 - 1 / 8], [0.5], [1 / 8]]


def test_constant_rates_are_left_alone():
    optimizer = adam(1.0)
    optimizer.param_groups[0]["initial_lr"] = 3.0
    assert rates([optimizer], 1.0, 2) == [[1.0], [1.0]]
