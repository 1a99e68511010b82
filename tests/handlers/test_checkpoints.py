from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from shared_components.engines.saved_state import RandomState
from shared_components.errors import InputError
from shared_components.handlers import BestWeights
from shared_components.handlers.checkpoints import SHARED, attach_checkpoints
from shared_components.handlers.parallel import SharedUpdates
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
            resumed(tmp_path)


def test_a_new_run_that_is_stopped_early_is_not_resumed_as_the_one_before(tmp_path):
    before = checkpoint(tmp_path)
    kept = saved(before)
    new = trainer(max_epochs=4)
    attach_checkpoints(new, state(new), tmp_path, every=3)
    stopped_at(new, 1)
    again = trainer(max_epochs=4)
    with pytest.raises(InputError, match="expected a checkpoint to resume from, found none"):
        attach_checkpoints(again, state(again), tmp_path, resume=True)
    assert different(saved(tmp_path / "checkpoint_before.pt"), kept) == []


def test_epochs_of_another_length_are_refused(tmp_path):
    path = checkpoint(tmp_path, lambda content: content["trainer"].update(epoch_length=3))
    engine = trainer(max_epochs=4)
    attach_checkpoints(engine, state(engine), tmp_path, resume=True)
    with pytest.raises(InputError, match=r"expected epochs of 3 updates, .* found 2 \(epoch_length\)"):
        engine.run()
    assert path.is_file()


def checkpoint(folder, change=None):
    """A checkpoint of two epochs, changed."""
    engine = trainer(max_epochs=2)
    path = attach_checkpoints(engine, state(engine), folder)
    engine.run()
    content = saved(path)
    if change is not None:
        change(content)
        torch.save(content, path)
    return path


def resumed(folder, epochs=4):
    engine = trainer(max_epochs=epochs)
    attach_checkpoints(engine, state(engine), folder, resume=True)
    engine.run()


def test_a_training_that_turned_nan_leaves_the_last_good_checkpoint(tmp_path):
    path = checkpoint(tmp_path)
    good = path.read_bytes()
    engine = trainer(max_epochs=4)
    attach_checkpoints(engine, state(engine), tmp_path, resume=True)

    @engine.on(Events.ITERATION_COMPLETED(once=5))
    def diverge():
        with torch.no_grad():
            engine.network.weight.fill_(float("inf"))

    with pytest.raises(
        InputError, match=r"checkpoint\.pt: not written, since 'network\.weight' holds NaN or inf"
    ):
        engine.run()
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["network"]["weight"].fill_(float("nan")), r"'network\.weight' holds NaN or infinite values"),
        (
            lambda c: c["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")),
            r"'optimizer\.state\.0\.exp_avg' holds NaN or infinite values",
        ),
        (
            lambda c: c["network"].update(weight=c["network"]["weight"].to(torch.int8)),
            r"'weight': expected \(1, 1\) float32, found \(1, 1\) int8",
        ),
        (
            lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.ones(1, 1, dtype=torch.int8)),
            "expected the state of 'optimizer' in this configuration, found that of another one",
        ),
        (
            lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.ones(1, 3)),
            "expected the state of 'optimizer' in this configuration, found that of another one",
        ),
        (lambda c: c["optimizer"].clear(), "expected the state of 'optimizer' in this configuration"),
        (lambda c: c.pop("random_state"), r"expected the state of 'random_state', found \['network', 'optimizer'"),
        (lambda c: c.update(random_state={"torch": 3}), "expected the state of 'random_state' in this config"),
        (lambda c: c["trainer"].update(iteration=100, max_epochs=50), r"for 50 epochs, more than max_epochs \(4\)"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_cure(tmp_path, change, message):
    checkpoint(tmp_path, change)
    with pytest.raises(InputError, match=rf"checkpoint\.pt: .*{message}.*; [^;\n]+$"):
        resumed(tmp_path)


def test_a_checkpoint_with_code_is_refused_without_the_advice_to_run_it(tmp_path):
    torch.save({"network": torch.nn.Linear(1, 1)}, checkpoint(tmp_path))
    with pytest.raises(InputError, match=r"found torch\.nn\.modules\.linear\.Linear, code that") as caught:
        resumed(tmp_path)
    assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)


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


def test_of_several_processes_earlier_checkpoints_go_on_and_one_process_takes_none_of_many(tmp_path):
    engine = trainer(max_epochs=1)
    path = attach_checkpoints(engine, state(engine), tmp_path)
    engine.run()
    several = trainer(max_epochs=2)
    attach_checkpoints(
        several, state(several) | {SHARED: SharedUpdates(nn.Module(), [])}, tmp_path, resume=True
    )
    several.fire_event(Events.STARTED)
    assert several.state.iteration == engine.state.iteration
    torch.save(saved(path) | {SHARED: {"processes": 4}}, path)
    alone = trainer(max_epochs=2)
    attach_checkpoints(alone, state(alone), tmp_path, resume=True)
    with pytest.raises(
        InputError, match=r"checkpoint\.pt: expected a checkpoint of one process, found one of 4"
    ):
        alone.run()
