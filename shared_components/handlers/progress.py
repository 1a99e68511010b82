"""Progress bar over epochs, and a CSV of each epoch's metrics."""

from __future__ import annotations

import os
from pathlib import Path

from ignite.engine import Engine, Events
from ignite.handlers.tqdm_logger import ProgressBar

from shared_components.records import read_table, write_table


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
        engine.add_event_handler(
            Events.EPOCH_STARTED, self._read_earlier_rows
        )  # a checkpoint is loaded by then
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
