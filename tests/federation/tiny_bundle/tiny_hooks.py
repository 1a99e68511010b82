"""Hooks that tests put into the tiny bundle's trainer."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ignite.engine import Engine, Events


class KillEngineOnce:
    """Kills the process that started this one, with SIGKILL, at a chosen update; never twice.

    Args:
        marker: file that notes this process's id when it has happened; None switches the hook off.
        epoch: epoch (round) of the update, from 1.
        update: update within the epoch, from 1.
    """

    def __init__(self, marker: str | None, epoch: int, update: int) -> None:
        self._marker = None if marker is None else Path(marker)
        self._iteration = (epoch, update)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state = engine.state
        update = state.iteration - (state.epoch - 1) * state.epoch_length
        if self._marker is None or (state.epoch, update) != self._iteration or self._marker.exists():
            return
        self._marker.write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
