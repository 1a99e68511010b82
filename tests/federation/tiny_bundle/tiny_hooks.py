"""Hooks that tests put into the tiny bundle's trainer."""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from pathlib import Path

import torch
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
        os.kill(parent_process().pid, signal.SIGKILL)
        signal.pause()


class Misbehave:
    """Makes what a client sends, or the client itself, go wrong at the end of a round.

    Args:
        kind: ``killed`` (SIGKILL to its process), ``stopped`` (SIGSTOP), ``nan``, ``huge`` (10^6 times), ``shape``,
            ``dtype``, ``name`` or ``error``; None: nothing.
        round: its number.
        marker: file that notes that it has happened; it does not happen twice.
    """

    def __init__(self, kind: str | None, round: int, marker: str) -> None:
        self._kind, self._round, self._marker = kind, round, Path(marker)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        if self._kind is None or engine.state.epoch != self._round or self._marker.exists():
            return
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()
        layer = next(module for module in engine.network.modules() if isinstance(module, torch.nn.Conv3d))
        match self._kind:
            case "killed" | "stopped":
                os.kill(os.getpid(), signal.SIGKILL if self._kind == "killed" else signal.SIGSTOP)
            case "nan":
                layer.weight.fill_(torch.nan)
            case "huge":
                layer.weight.mul_(1e6)
            case "shape":
                layer.weight = torch.nn.Parameter(layer.weight[:1].clone())
            case "dtype":
                layer.weight.data = layer.weight.double()
            case "name":
                layer.other = layer.weight
                del layer.weight
            case "error":
                raise OSError(5, "Input/output error")
