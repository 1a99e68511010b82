from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanSquaredError

from shared_components.errors import InputError
from shared_components.handlers import SettingsFile
from shared_components.handlers.progress import EpochProgress, MetricsTable, Validation
from shared_components.records import read_record, read_table
from tests.handlers.engines import Numbers, trainer


def run(path, metrics: list[dict], start: int = 0) -> None:
    """An engine of two updates an epoch whose n-th epoch, from ``start`` on, reports ``metrics[n]``."""
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: setattr(e.state, "metrics", metrics[e.state.epoch - start - 1])
    )
    table = MetricsTable(path)
    table.attach(engine)
    if start:
        # as a checkpoint loader does, attached after the table
        engine.add_event_handler(
            Events.STARTED,
            lambda e: (setattr(e.state, "epoch", start), setattr(e.state, "iteration", 2 * start)),
        )
    engine.run([0, 1], max_epochs=start + len(metrics))


def read(path) -> list[dict[str, str]]:
    return read_table(path, "")


def test_one_row_an_epoch_with_columns_that_come_later(tmp_path):
    path = tmp_path / "run" / "metrics.csv"
    run(path, [{"loss": 0.5}, {"loss": 0.25, "dice": 0.75}])
    assert read(path) == [
        {"epoch": "1", "update": "2", "loss": "0.5", "dice": ""},
        {"epoch": "2", "update": "4", "loss": "0.25", "dice": "0.75"},
    ]


def test_resuming_keeps_the_rows_before_and_drops_those_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.csv"
    run(path, [{"loss": 3.0}, {"loss": 2.0}, {"loss": 9.0}])
    run(path, [{"loss": 1.0}], start=2)
    assert [(row["epoch"], row["update"], row["loss"]) for row in read(path)] == [
        ("1", "2", "3"), ("2", "4", "2"), ("3", "6", "1")
    ]  # fmt: skip


def test_a_new_run_starts_a_new_table(tmp_path):
    path = tmp_path / "metrics.csv"
    run(path, [{"loss": 3.0}, {"loss": 2.0}])
    run(path, [{"loss": 1.0}])
    assert [row["loss"] for row in read(path)] == ["1"]


def test_the_bar_names_epochs_and_metrics_unless_quiet(capsys):
    for quiet in (False, True):
        engine = Engine(lambda engine, batch: None)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(loss=0.125))
        EpochProgress(quiet=quiet, description="factory").attach(engine)
        engine.run([0], max_epochs=2)
        shown = capsys.readouterr().err
        assert ("factory" in shown and "2/2" in shown and "loss=0.125" in shown) is not quiet


def test_settings_are_written_when_the_run_starts(tmp_path):
    handler = SettingsFile(
        tmp_path / "new" / "settings.json", {"rate": 0.1, "adapted": [""], "out": Path("x")}
    )
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    assert not (tmp_path / "new").exists()
    engine.run([0])
    assert read_record(tmp_path / "new" / "settings.json", "") == {
        "rate": 0.1, "adapted": [""], "out": "x"
    }  # fmt: skip


def test_a_run_goes_on_with_its_own_settings(tmp_path):
    def run(resume, **settings):
        engine = Engine(lambda engine, batch: None)
        SettingsFile(tmp_path / "settings.json", settings, resume).attach(engine)
        engine.run([0])

    run(False, meta_learning=False, labels={0: "background"}, adapted=("",), max_epochs=4, inner_rate=0.1)
    run(True, meta_learning=False, labels={0: "background"}, adapted=("",), max_epochs=6, inner_rate=0.01)
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(
        InputError, match=r"settings\.json: the run to resume had meta_learning: False, now it is True"
    ):
        run(True, meta_learning=True, labels={0: "background"})
    assert (tmp_path / "settings.json").read_bytes() == before
    run(False, learning_rate=0.1)
    with pytest.raises(
        InputError, match=r"had learning_rate: 0\.1, now it is 0\.01"
    ):  # the optimiser's state has it
        run(True, learning_rate=0.01)
    run(False, meta_learning=False, labels={0: "background"})
    run(True, meta_learning=False, labels={0: "background"}, added_since=1)  # by a version that knows more
    run(False, meta_learning=True)
    assert read_record(tmp_path / "settings.json", "") == {"meta_learning": True}


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


def trained(interval: int | None, last: int | None = None):
    engine = trainer(max_epochs=4)
    if interval:
        Validation(interval=interval, last=last, validator=validator(engine.network)).attach(engine)
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


@pytest.mark.parametrize(("interval", "validated"), [(3, [3, 4]), (2, [2, 4]), (5, [4])])
def test_the_last_epoch_is_validated_whatever_the_interval(interval, validated):
    _, seen = trained(interval, last=4)
    assert [epoch for epoch, metrics in enumerate(seen, 1) if metrics] == validated


def test_training_is_the_same_with_and_without():
    with_it, without = trained(interval=1)[0], trained(interval=None)[0]
    assert torch.equal(with_it.weight, without.weight) and torch.equal(with_it.bias, without.bias)
