from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events

from shared_components.errors import InputError
from shared_components.handlers import FiniteTraining, MetricsTable, attach_checkpoints
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
