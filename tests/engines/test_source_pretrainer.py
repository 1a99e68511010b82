"""Source pre-training of the published adaptation."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils import CommonKeys as Keys

from shared_components.engines.random_state import RandomState
from shared_components.engines.source_pretrainer import SourcePretrainer
from tests.engines.adaptation_parts import SOURCE, RandomBatches, changed_children, losses, paths, state


def trainer(network, epochs: int, data=None, **kwargs) -> SourcePretrainer:
    return SourcePretrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=data or RandomBatches([SOURCE] * 3, [True] * 3),
        network=network,
        optimizer=torch.optim.Adam(network.adapter.source_parameters(), lr=1e-2),
        **(losses() | kwargs),
    )


def test_two_updates_change_encoder_injection_and_source_classifier_only():
    network = paths(target=SOURCE)
    before = state(network.adapter)
    engine = trainer(network, epochs=1)
    engine.run()
    assert isinstance(engine, SupervisedTrainer) and engine.state.iteration == 2
    assert changed_children(network.adapter, before) == {"encoder", "injection", "source_classifier"}
    assert int(network.adapter.injection.updates) == 2


def test_only_the_norms_of_the_source_change():
    network = paths(target=SOURCE)
    before = state(network.adapter.encoder)
    trainer(network, epochs=1).run()
    after = network.adapter.encoder.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    norms = {name.split("norms.")[1][0] for name in changed if "norms." in name}
    assert norms == {str(SOURCE)}


class Recorder:
    """A handler that keeps each epoch's metrics."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def attach(self, engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: self.epochs.append(dict(e.state.metrics)))


def test_handlers_find_the_means_of_the_epoch():
    recorder = Recorder()
    engine = trainer(
        paths(target=SOURCE), 1, RandomBatches([SOURCE] * 2, [True] * 2, 1), train_handlers=[recorder]
    )
    engine.run()
    output = {name: float(loss) for name, loss in engine.state.output[Keys.LOSS].items()}
    assert set(output) == {"image", "mask"}
    assert recorder.epochs == [pytest.approx(output)]


def test_weights_scale_the_losses():
    def mean_losses(**weights):
        torch.manual_seed(3)
        engine = trainer(paths(target=SOURCE), 1, RandomBatches([SOURCE] * 2, [True] * 2, 1), **weights)
        engine.run()
        return engine.state.metrics

    plain, scaled = mean_losses(), mean_losses(image_weight=2.0, mask_weight=0.5)
    assert scaled["image"] == pytest.approx(2 * plain["image"], rel=1e-5)
    assert scaled["mask"] == pytest.approx(0.5 * plain["mask"], rel=1e-5)


def test_learns_one_batch():
    fixed = next(iter(RandomBatches([SOURCE] * 2, [True] * 2, 1)))
    fixed["label"] = (fixed["image"] > 0).long()
    fixed["label"][:, :, :16] = 0
    engine = trainer(paths(target=SOURCE), epochs=15, data=[fixed] * 2)
    history = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: history.append(e.state.metrics["mask"]))
    engine.run()
    assert history[-1] < 0.8 * history[0]


def test_resumed_equals_uninterrupted():
    whole = paths(target=SOURCE)
    torch.manual_seed(5)
    trainer(whole, epochs=2).run()

    first = paths(target=SOURCE)
    engine = trainer(first, epochs=1)
    torch.manual_seed(5)
    engine.run()
    saved = (state(first), engine.optimizer.state_dict(), RandomState().state_dict())

    second = paths(target=SOURCE)
    engine = trainer(second, epochs=1)
    second.load_state_dict(saved[0])
    engine.optimizer.load_state_dict(saved[1])
    RandomState().load_state_dict(saved[2])
    engine.run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
