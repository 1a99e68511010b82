"""The weights of the best validation, also over a stop."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from torch import nn

from shared_components.handlers import BestWeights


def validate(validator: Engine, module: nn.Linear, weight: float, metric: float) -> None:
    module.weight.data.fill_(weight)
    validator.state.key_metric_name = "dice"
    validator.metric = metric
    validator.run([0])


def build():
    validator = Engine(lambda engine, batch: None)
    module = nn.Linear(1, 1)

    @validator.on("EPOCH_COMPLETED")
    def score():
        validator.state.metrics["dice"] = validator.metric

    return module, validator, BestWeights(module, validator)


def test_the_best_of_all_validations_comes_back():
    module, validator, best = build()
    for weight, metric in ((1.0, 0.2), (2.0, 0.6), (3.0, 0.4), (4.0, float("nan"))):
        validate(validator, module, weight, metric)
    best.restore()
    assert (module.weight.item(), best.metric) == (2.0, 0.6)


def test_weights_that_are_not_finite_are_never_the_best():
    module, validator, best = build()
    validate(validator, module, 1.0, 0.2)
    validate(validator, module, float("nan"), 0.9)  # they score as background, of which there may be much
    best.restore()
    assert (module.weight.item(), best.metric) == (1.0, 0.2)


def test_a_resumed_run_remembers_the_best_before_the_stop(tmp_path):
    module, validator, best = build()
    validate(validator, module, 1.0, 0.9)
    torch.save(best.state_dict(), tmp_path / "state.pt")
    module, validator, best = build()
    best.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    validate(validator, module, 5.0, 0.3)
    best.restore()
    assert module.weight.item() == 1.0


def test_without_validation_the_last_weights_stay():
    module = nn.Linear(1, 1)
    module.weight.data.fill_(7.0)
    BestWeights(module, None).restore()
    assert module.weight.item() == 7.0
