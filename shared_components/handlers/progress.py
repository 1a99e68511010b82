"""What a run tells while it goes on: a bar over its epochs, each epoch's losses and scores as CSV, and its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers.tqdm_logger import ProgressBar
from monai.handlers import ValidationHandler

from shared_components.errors import InputError, shown
from shared_components.records import as_record, found_record, read_table, write_record, write_table

MAY_CHANGE = ("dataset_dir", "max_epochs", "inner_rate")
"""Settings with which a run may go on: where the data lie now, how long, and a rate that no optimiser's state holds."""


class EpochProgress:
    """One bar over all epochs of a run, with the epoch's mean losses behind it.

    Args:
        quiet: show nothing.
        description: words before the bar.
    """

    def __init__(self, quiet: bool = False, description: str = "training") -> None:
        self.quiet = quiet
        self.description = description

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if not self.quiet:
            bar = ProgressBar(persist=True, desc=self.description, ncols=110)
            bar.attach(engine, "all", event_name=Events.EPOCH_COMPLETED, closing_event_name=Events.COMPLETED)


class MetricsTable:
    """Writes ``engine.state.metrics`` of every epoch to a CSV, one row an epoch.

    A resumed run goes on below the rows of the epochs that came before it.

    Args:
        path: the CSV file; its folder is made.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._rows: list[dict[str, str]] = []

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        # a checkpoint is loaded by then
        engine.add_event_handler(Events.EPOCH_STARTED, self._read_earlier_rows)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._add_row)

    def _read_earlier_rows(self, engine: Engine) -> None:
        if not self._rows and engine.state.epoch > 1 and self.path.is_file():
            rows = read_table(self.path, "remove it to go on without its rows")
            self._rows = [row for row in rows if int(row["epoch"]) < engine.state.epoch]

    def _add_row(self, engine: Engine) -> None:
        metrics = {name: f"{value:.6g}" for name, value in engine.state.metrics.items()}
        self._rows.append(
            {"epoch": str(engine.state.epoch), "update": str(engine.state.iteration), **metrics}
        )
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        write_table(self.path, names, self._rows)


class SettingsFile:
    """Writes ``settings`` as JSON when a run starts, so that its report can say how it was trained.

    Args:
        path: the JSON file; its folder is made.
        settings: names and values; one that JSON has no form for is written as text.
        resume: the run goes on with what was trained before, by the same settings but for ``MAY_CHANGE``.
    Raises:
        InputError: (when a run is resumed) a setting is another than that of the file.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], resume: bool = False) -> None:
        self.path = Path(path)
        self.settings = dict(settings)
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine | None = None) -> None:
        """Write the file."""
        before = (found_record(self.path) if self.resume else None) or {}
        now = as_record(self.settings)
        kept = [name for name in now if name in before and name not in MAY_CHANGE]
        for name in kept:
            if before[name] != now[name]:
                raise InputError(
                    f"{self.path}: the run to resume had {name}: {shown(before[name])}, now it is "
                    f"{shown(now[name])}; put it back, or start over with resume: false"
                )
        write_record(self.path, self.settings)


class Validation(ValidationHandler):
    """MONAI's ``ValidationHandler`` that hands the validator's metrics to the trainer, for that epoch only.

    Put it before the handlers that report ``trainer.state.metrics``. Validation draws nothing from the trainer's
    random state (a loader's iterator would), so that training is the same with and without it.

    Args:
        validator: MONAI's evaluator.
        interval: epochs (or updates) between two validations.
        epoch_level: count epochs.
        last: the epoch of the training's end, after which the model is validated in any case; None: none.
    """

    def __init__(self, *, last: int | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.last = last

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        super().attach(engine)
        if self.last is not None and self.last % self.interval:
            engine.add_event_handler(Events.EPOCH_COMPLETED(once=self.last), self)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)

    def __call__(self, engine: Engine) -> None:
        """Validate now."""
        with torch.random.fork_rng(devices=[]):
            super().__call__(engine)
        engine.state.metrics.update(self.validator.state.metrics)

    def _forget(self, engine: Engine) -> None:
        for name in self.validator.state.metrics:
            engine.state.metrics.pop(name, None)
