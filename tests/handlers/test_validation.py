from __future__ import annotations

import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanSquaredError

from shared_components.handlers.validation import Validation
from tests.handlers.engines import Numbers, trainer


def validator(network) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(Numbers(3), batch_size=1, shuffle=True),
        network=network,
        decollate=False,
        key_val_metric={
            "error": MeanSquaredError(output_transform=lambda output: (output["pred"], output["label"]))
        },
    )


def trained(interval: int | None):
    engine = trainer(max_epochs=4)
    if interval:
        Validation(interval=interval, validator=validator(engine.network)).attach(engine)
    seen = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: seen.append(dict(e.state.metrics)))
    engine.run()
    return engine.network, seen


def test_scores_are_the_trainers_metrics_in_their_epoch_only():
    network, seen = trained(interval=2)
    assert [set(metrics) for metrics in seen] == [set(), {"error"}, set(), {"error"}]
    numbers = Numbers(3)
    with torch.no_grad():
        error = ((network(numbers.values[:, None])[:, 0] - 2 * numbers.values) ** 2).mean()
    torch.testing.assert_close(torch.tensor(seen[3]["error"]), error)


def test_training_is_the_same_with_and_without():
    with_it, without = trained(interval=1)[0], trained(interval=None)[0]
    assert torch.equal(with_it.weight, without.weight) and torch.equal(with_it.bias, without.bias)
